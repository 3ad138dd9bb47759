"""ssh keys, and the lab's own certificate authority."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .paths import StatePaths, write_atomically

_YEARS = 2  # how long lab certificates are valid


def ensure_ssh_key(path: Path, comment: str) -> str:
    """The public half of the ed25519 key at ``path``; the pair is made if it is not there."""
    public = path.with_suffix(".pub")
    if not path.exists() or not public.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        private_text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        public_text = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write_atomically(public, public_text + f" {comment}\n".encode())
        write_atomically(path, private_text, 0o600)
    return public.read_text(encoding="ascii").strip()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # hosts with a slow clock accept it too
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
    )


def ensure_certificates(state: StatePaths, lab: str, address: str) -> None:
    """Make the lab's CA and a server certificate for ``address``; existing ones for that address stay.

    The CA's private key is used once and never written.
    """
    server = state.tls / "server.crt"
    if server.exists() and state.ca.exists():
        names = x509.load_pem_x509_certificate(server.read_bytes()).extensions
        alternatives = names.get_extension_for_class(x509.SubjectAlternativeName).value
        if ipaddress.ip_address(address) in alternatives.get_values_for_type(x509.IPAddress):
            return
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _name(f"Hermeion lab {lab}")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    ca = (
        _builder(authority, authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    addresses: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(address)),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.DNSName("localhost"),
    ]
    certificate = (
        _builder(_name("hermeion-lab-services"), authority, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    write_atomically(state.tls / "server.key", _pem(key), 0o600)
    write_atomically(server, certificate.public_bytes(serialization.Encoding.PEM))
    write_atomically(state.ca, ca.public_bytes(serialization.Encoding.PEM))
