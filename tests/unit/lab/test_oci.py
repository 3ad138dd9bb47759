"""The image writer: what it writes, and that it writes the same twice."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from hermeion.lab.oci import EPOCH, Compressed, Layer, make_config, make_manifest, rewrite_export, write_folder


def make_folder(root: Path) -> Path:
    (root / "b").mkdir(parents=True)
    (root / "b" / "two.txt").write_text("two")
    (root / "one").write_text("#!/bin/sh\n")
    (root / "one").chmod(0o755)
    (root / "link").symlink_to("one")
    return root


def pack(root: Path) -> tuple[bytes, Layer]:
    stream = Compressed(lambda file: write_folder(root, "/usr/lib/site", file))
    data = b"".join(stream)
    return data, stream.layer()


def test_the_same_folder_gives_the_same_digest(tmp_path: Path) -> None:
    first, second = make_folder(tmp_path / "x"), make_folder(tmp_path / "y")
    os.utime(second / "one", (1, 1))
    (second / "b" / "two.txt").chmod(0o600)
    assert pack(first) == pack(second)


def test_other_content_gives_another_digest(tmp_path: Path) -> None:
    first, second = make_folder(tmp_path / "x"), make_folder(tmp_path / "y")
    (second / "one").write_text("#!/bin/bash\n")
    assert pack(first)[1].digest != pack(second)[1].digest


def test_a_layer_is_named_by_its_bytes(tmp_path: Path) -> None:
    data, layer = pack(make_folder(tmp_path / "x"))
    assert layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert layer.size == len(data)
    kind = layer.media_type.rpartition("+")[2]
    plain = subprocess.run([kind, "-dc"], input=data, capture_output=True, check=True).stdout
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        found = {entry.name: entry for entry in archive}
        assert list(found) == [
            "usr", "usr/lib", "usr/lib/site", "usr/lib/site/b", "usr/lib/site/b/two.txt", "usr/lib/site/link",
            "usr/lib/site/one",
        ]  # fmt: skip
        assert {entry.mtime for entry in found.values()} == {EPOCH}
        assert found["usr/lib/site/one"].mode == 0o755
        assert found["usr/lib/site/link"].linkname == "one"


def test_without_zstd_it_is_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    folder = make_folder(tmp_path / "x")
    data, layer = pack(folder)
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert data == pack(folder)[0]


def test_a_failure_while_packing_is_raised(tmp_path: Path) -> None:
    def fail(_file: object) -> None:
        message = "disk gone"
        raise OSError(message)

    with pytest.raises(OSError, match="disk gone"):
        list(Compressed(fail))


def test_an_export_loses_what_docker_put_there() -> None:
    export, out = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=export, mode="w") as archive:
        for name in (".dockerenv", "etc/hosts", "etc/passwd", "dev/console"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    rewrite_export(iter([export.getvalue()]), out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert [(entry.name, entry.mtime) for entry in archive] == [("etc/passwd", EPOCH)]


def test_manifest_and_config_agree() -> None:
    layers = [Layer("application/vnd.oci.image.layer.v1.tar+zstd", "sha256:" + "a" * 64, 7, "sha256:" + "b" * 64)]
    config = make_config(layers, settings={"Entrypoint": ["vllm", "serve"]})
    manifest = json.loads(make_manifest(config, layers))
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert [layer["digest"] for layer in manifest["layers"]] == ["sha256:" + "a" * 64]
    assert json.loads(config)["rootfs"]["diff_ids"] == ["sha256:" + "b" * 64]
