"""Where the site's certificates lie on a host."""

from __future__ import annotations

from hermeion.inventory import Mirrors

CA_PATH = "/etc/hermeion/ca.pem"


def registry_ca_path(mirrors: Mirrors) -> str | None:
    """Where Docker looks for the certificates of the mirror's registry."""
    return f"/etc/docker/certs.d/{mirrors.registry}/ca.crt" if mirrors.registry and mirrors.ca else None
