"""Requests to an S3-compatible store: signatures against Amazon's own examples, addresses, listings, rclone's file."""

from __future__ import annotations

import pytest

from hermeion.s3 import (
    S3Access,
    error_code,
    is_bucket,
    listing_request,
    object_request,
    parse_listing,
    rclone_config,
    sign,
)
from tests.unit.builders import POISON, make_spec

EXAMPLE = S3Access(
    key="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", date="20130524T000000Z"
)
"""The key of the examples in "Signature Calculations for the Authorization Header" of the Amazon S3 API reference."""

STORE = {"s3": {"endpoint": "https://minio.example:9000/", "region": "eu-1"}}


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_the_signatures_of_amazons_examples(query: str, signature: str) -> None:
    """Signed as in Amazon's reference, for the two examples with the same headers."""
    headers = sign(f"https://examplebucket.s3.amazonaws.com/?{query}", "us-east-1", EXAMPLE)

    assert (
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}"
    ) == headers[0]
    assert ["Authorization", "x-amz-content-sha256", "x-amz-date"] == [row.partition(":")[0] for row in headers]


def test_a_session_is_signed_too() -> None:
    """The token of temporary credentials is sent, and stands under the signature."""
    headers = sign("https://s3.example/b/k", "us-east-1", EXAMPLE.model_copy(update={"session": "abc"}))

    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in headers[0]
    assert "x-amz-security-token: abc" in headers


def test_anonymous() -> None:
    """Without a key nothing is signed and nothing is sent."""
    assert () == object_request(make_spec(hermes_mirrors=STORE), "s3://b/p", "SHA256SUMS", None).headers


@pytest.mark.parametrize(
    ("mirrors", "source", "name", "url"),
    [
        (STORE, "s3://models/a/b", "a b.json", "https://minio.example:9000/models/a/b/a%20b.json"),
        (STORE, "s3://models", "x+y.gguf", "https://minio.example:9000/models/x%2By.gguf"),
        ({}, "s3://models/a/", "x", "https://s3.us-east-1.amazonaws.com/models/a/x"),
        ({"s3": {"endpoint": "https://lab:443/s3"}}, "s3://models/a", "x", "https://lab/s3/models/a/x"),
        ({"s3": {"endpoint": "http://lab:80"}}, "s3://models/a", "x", "http://lab/models/a/x"),
    ],
)
def test_addresses_of_files(mirrors: dict[str, object], source: str, name: str, url: str) -> None:
    """A bucket is a folder of the store; a port that goes without saying is left out, as programs do in `Host`."""
    assert url == object_request(make_spec(hermes_mirrors=mirrors), source, name, None).url


@pytest.mark.parametrize(
    ("source", "folder", "prefix"),
    [("s3://b/m", "", "m%2F"), ("s3://b/m", "Q4/K", "m%2FQ4%2FK%2F"), ("s3://b", "", ""), ("s3://b", "Q4", "Q4%2F")],
)
def test_address_of_a_listing(source: str, folder: str, prefix: str) -> None:
    """One folder is listed, with its query sorted and encoded as it is signed."""
    url = listing_request(make_spec(hermes_mirrors=STORE), source, folder, None).url

    assert f"https://minio.example:9000/b?delimiter=%2F&list-type=2&max-keys=1000&prefix={prefix}" == url


LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>m/</Prefix>
<IsTruncated>%s</IsTruncated><Contents><Key>m/a &amp; b.json</Key><Size>7</Size></Contents>
<Contents><Size>12345678901</Size><Key>m/model.safetensors</Key></Contents>
<CommonPrefixes><Prefix>m/original/</Prefix></CommonPrefixes></ListBucketResult>"""


@pytest.mark.parametrize("more", [False, True])
def test_a_listing(more: bool) -> None:
    """Names below the source with their sizes, and whether that was all."""
    listing = parse_listing(LISTING % str(more).lower(), "s3://b/m")

    assert ({"a & b.json": 7, "model.safetensors": 12345678901}, more) == listing


@pytest.mark.parametrize("text", ["", "<html>log in</html>", "<ListBucketResult>", "<Error><Code>X</Code></Error>"])
def test_no_listing(text: str) -> None:
    """Something else is not taken for an empty bucket."""
    with pytest.raises(ValueError, match=r"^no listing: "):
        parse_listing(text, "s3://b/m")


def test_words_of_an_error() -> None:
    """The store's own code is found in what it answers."""
    assert "NoSuchKey" == error_code("<?xml?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>")
    assert "" == error_code("<html>")


def test_configuration_of_rclone() -> None:
    """rclone is told all that it needs, and of an anonymous bucket no key."""
    spec = make_spec(hermes_mirrors=STORE)

    assert (
        "[store]\ntype = s3\nprovider = Other\nendpoint = https://minio.example:9000\nregion = eu-1\n"
        "force_path_style = true\naccess_key_id = AKIAIOSFODNN7EXAMPLE\n"
        "secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
    ) == rclone_config(spec, EXAMPLE)
    assert "access_key" not in rclone_config(spec, None)
    assert "[store]\ntype = s3\nprovider = AWS\nregion = us-east-1\nforce_path_style = true\n" == rclone_config(
        make_spec(), None
    )


def test_a_key_is_not_shown() -> None:
    """What holds the key does not print it."""
    access = S3Access(key="k", secret=POISON, session=POISON, date="20260922T101500Z")

    assert POISON not in f"{access!r} {access}"


@pytest.mark.parametrize(
    ("source", "bucket"), [("s3://b", True), ("s3://b/p", True), ("/mnt/usb/model", False), (None, False)]
)
def test_kinds_of_sources(source: str | None, bucket: bool) -> None:
    """What begins with `s3://` is a bucket."""
    assert bucket is is_bucket(source)
