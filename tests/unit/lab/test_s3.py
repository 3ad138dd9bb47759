"""The lab's S3 store: signatures, listings and objects, by the documented examples and by the real curl."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from hermeion.lab.services.catalog import KeyPair
from hermeion.lab.services.sigv4 import check, signature
from tests.unit.lab.serving import turn, write_served

# docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Examples: Signature calculations".
AWS = KeyPair("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SCOPE = "20130524/us-east-1/s3/aws4_request"
MOMENT = datetime(2013, 5, 24, tzinfo=UTC)
HEADERS = {
    "host": "examplebucket.s3.amazonaws.com",
    "range": "bytes=0-9",
    "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
    "x-amz-date": "20130524T000000Z",
}
GET_SIGNATURE = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
LIST_SIGNATURE = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"

KEYS = KeyPair("AKIALAB", "secret/of+the=lab")
ODD = "sub d/na me [1]+%&=.txt"
OBJECTS = {"a.json": b"{}", "b/1.safetensors": b"0123456789", "b/2.safetensors": b"x", ODD: b"odd"}
BUCKET = "/s3/weights"


@pytest.fixture
def bucket(tmp_path: Path, client: httpx.Client) -> Path:
    for key, content in OBJECTS.items():
        (tmp_path / "bucket" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bucket" / key).write_bytes(content)
    keys = {"access_key": KEYS.access_key, "secret_key": KEYS.secret_key}
    write_served(tmp_path, buckets={"weights": str(tmp_path / "bucket")}, s3=keys)
    return tmp_path / "bucket"


def ask(client: httpx.Client, path: str, query: str = "", method: str = "GET", **headers: str) -> httpx.Response:
    """A signed request."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/us-east-1/s3/aws4_request"
    signed = {"host": client.base_url.netloc.decode(), "x-amz-date": moment}
    path = quote(path).replace("..", "%2e%2e")  # or the client resolves them
    name = signature(KEYS, scope, method, path, query, signed, "host;x-amz-date")
    value = f"AWS4-HMAC-SHA256 Credential={KEYS.access_key}/{scope}, SignedHeaders=host;x-amz-date, Signature={name}"
    url = f"{client.base_url}{path}{'?' if query else ''}{query}"
    return client.request(method, url, headers={"x-amz-date": moment, "Authorization": value} | headers)


def keys_of(answer: httpx.Response) -> list[str]:
    return re.findall(r"<Key>(.*?)</Key>", answer.text)


def authorized(secret: str = GET_SIGNATURE, key: str = AWS.access_key) -> dict[str, str]:
    signed = "host;range;x-amz-content-sha256;x-amz-date"
    value = f"AWS4-HMAC-SHA256 Credential={key}/{SCOPE},SignedHeaders={signed},Signature={secret}"
    return HEADERS | {"authorization": value}


def test_signatures_are_those_of_the_documentation() -> None:
    assert GET_SIGNATURE == signature(
        AWS, SCOPE, "GET", "/test.txt", "", HEADERS, "host;range;x-amz-content-sha256;x-amz-date"
    )
    assert LIST_SIGNATURE == signature(
        AWS, SCOPE, "GET", "/", "max-keys=2&prefix=J", HEADERS, "host;x-amz-content-sha256;x-amz-date"
    )


@pytest.mark.parametrize(
    ("code", "keys", "headers", "later"),
    [
        ("", AWS, authorized(), 0),
        ("", AWS, authorized(), 900),
        ("RequestTimeTooSkewed", AWS, authorized(), 901),
        ("RequestTimeTooSkewed", AWS, authorized(), -901),
        ("SignatureDoesNotMatch", AWS, authorized("0" * 64), 0),
        ("SignatureDoesNotMatch", KeyPair(AWS.access_key, "other"), authorized(), 0),
        ("SignatureDoesNotMatch", AWS, authorized() | {"range": "bytes=0-10"}, 0),
        ("InvalidAccessKeyId", AWS, authorized(key="AKIAOTHER"), 0),
        ("InvalidAccessKeyId", None, authorized(), 0),
        ("AccessDenied", AWS, HEADERS, 0),
        ("AccessDenied", AWS, authorized() | {"x-amz-date": "yesterday"}, 0),
        ("AccessDenied", AWS, {k: v for k, v in authorized().items() if k != "range"}, 0),
    ],
)
def test_who_may_not_read_is_told_why(code: str, keys: KeyPair | None, headers: dict[str, str], later: int) -> None:
    now = MOMENT + timedelta(seconds=later)
    assert code == check(keys, "GET", "/test.txt", "", headers, now)


def test_objects_are_read_whole_and_in_part(client: httpx.Client, bucket: Path) -> None:
    """Odd names too; the ETag is none that a client takes for an MD5."""
    for key, content in OBJECTS.items():
        assert content == ask(client, f"{BUCKET}/{key}").content
    assert b"345" == ask(client, f"{BUCKET}/b/1.safetensors", Range="bytes=3-5").content
    assert b"89" == ask(client, f"{BUCKET}/b/1.safetensors", Range="bytes=-2").content
    head = ask(client, f"{BUCKET}/b/1.safetensors", method="HEAD")
    assert ("10", b"") == (head.headers["Content-Length"], head.content)
    assert re.fullmatch(r'"[0-9a-f]{32}-1"', head.headers["ETag"])
    assert "GMT" in head.headers["Last-Modified"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{BUCKET}/none", 404, "NoSuchKey"),
        (f"{BUCKET}/b", 404, "NoSuchKey"),
        (f"{BUCKET}/b/../../secret", 404, "NoSuchKey"),
        ("/s3/other/a.json", 404, "NoSuchBucket"),
    ],
)
def test_what_is_not_there_is_said(client: httpx.Client, bucket: Path, path: str, status: int, code: str) -> None:
    answer = ask(client, path)
    assert status == answer.status_code
    assert code in answer.text


def test_nobody_reads_without_a_signature(client: httpx.Client, bucket: Path) -> None:
    answer = client.get(f"{BUCKET}/a.json")
    assert (403, True) == (answer.status_code, "AccessDenied" in answer.text)


def test_a_bucket_is_listed(client: httpx.Client, bucket: Path) -> None:
    """By prefix, in pages, with folders as common prefixes; the first version of the listing too."""
    everything = sorted(key.replace("&", "&amp;") for key in OBJECTS)
    assert everything == keys_of(ask(client, BUCKET, "list-type=2"))
    assert ["b/1.safetensors", "b/2.safetensors"] == keys_of(ask(client, BUCKET, "list-type=2&prefix=b%2F"))
    top = ask(client, BUCKET, "delimiter=%2F&list-type=2")
    assert ["a.json"] == keys_of(top)
    assert ["b/", "sub d/"] == re.findall(r"<CommonPrefixes><Prefix>(.*?)</Prefix>", top.text)
    assert [quote(ODD)] == keys_of(ask(client, BUCKET, "encoding-type=url&list-type=2&prefix=sub"))
    for query, token in (("list-type=2&", "continuation-token"), ("", "marker")):
        found: list[str] = []
        position, pages = "", 0
        while pages < 9:
            asked = "&".join(sorted(f"{query}max-keys=3{position}".split("&")))
            page = ask(client, BUCKET, asked)
            found, pages = found + keys_of(page), pages + 1
            if "<IsTruncated>false" in page.text:
                break
            after = re.findall(r"<Next(?:ContinuationToken|Marker)>(.*?)</Next", page.text)[0]
            position = f"&{token}={quote(after, safe='')}"
        assert (everything, 2) == (found, pages)
    assert ["weights"] == re.findall(r"<Name>(.*?)</Name>", ask(client, "/s3/").text)


def test_the_real_curl_signs_so(client: httpx.Client, bucket: Path) -> None:
    """Right secret and wrong; names that must be encoded; a listing with a query."""

    def curl(path: str, secret: str) -> str:
        command = ["curl", "--silent", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3"]
        command += ["--user", f"{KEYS.access_key}:{secret}", f"{client.base_url}{path}"]
        environment = {"PATH": os.environ["PATH"]}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert "0123456789" == curl(f"{BUCKET}/b/1.safetensors", KEYS.secret_key)
    assert "odd" == curl(f"{BUCKET}/{quote(ODD)}", KEYS.secret_key)
    assert "<Key>a.json</Key>" in curl(f"{BUCKET}?list-type=2&prefix=a", KEYS.secret_key)
    assert "SignatureDoesNotMatch" in curl(f"{BUCKET}/a.json", "wrong")


def test_faults_reach_the_store(client: httpx.Client, bucket: Path) -> None:
    turn(client, statuses=[{"path": "^/s3/", "status": 503, "times": 1}], bodies=[{"path": "safetensors", "length": 3}])
    assert 503 == ask(client, f"{BUCKET}/a.json").status_code
    assert b"012" == ask(client, f"{BUCKET}/b/1.safetensors").content
