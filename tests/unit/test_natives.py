"""What native engines are installed from: locked, complete, and named by nobody's index."""

from __future__ import annotations

import io
import re
import tomllib
import zipfile
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from hermeion.engines.natives import archive, locked_versions, python_of, requirements, system_packages
from hermeion.units import GIB
from tests.unit.builders import ROOT

DATA = files("hermeion.data").joinpath("engines")
FOLDER = ROOT / "hermeion/data/engines/requirements"
SYSTEMS = (
    ("debian", "12"),
    ("debian", "13"),
    ("ubuntu", "24.04"),
    ("ubuntu", "26.04"),
    ("rhel", "9.6"),
    ("rocky", "10.1"),
)
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[\w.!+]+)(?: ; (?P<marker>[^\\]+))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
MARKER = re.compile(r"(python_version [<>]= '3\.\d+'|platform_machine == '(x86_64|aarch64)')")


def locks() -> list[str]:
    """Every lock of this release."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def archives() -> list[dict[str, Any]]:
    """Every entry of the table of archives."""
    found: list[dict[str, Any]] = tomllib.loads(DATA.joinpath("archives.toml").read_text())["archive"]
    return found


def pins(name: str) -> dict[str, set[str]]:
    """Versions by package of a lock."""
    found: dict[str, set[str]] = {}
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        if match := PIN.match(line):
            found.setdefault(match["name"], set()).add(match["version"])
    return found


def test_there_are_locks() -> None:
    """The tests below look at something: two versions of vLLM and one of SGLang."""
    assert {"vllm-0.32.0", "vllm-0.33.0", "sglang-0.5.23"} <= set(locks())


@pytest.mark.parametrize("name", locks())
def test_every_package_is_pinned_with_hashes(name: str) -> None:
    """Every line is a comment, a package at one version, or a hash of it; no package is without a hash."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("# ")]

    assert [] == [line for line in lines if not PIN.match(line) and not HASH.match(line)]
    assert [] == [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if PIN.match(line) and not HASH.match(following)
    ]


@pytest.mark.parametrize("name", locks())
def test_hashes_are_continued_up_to_the_last(name: str) -> None:
    """pip's format: a line that is not the last of its package ends with a backslash, the last one does not."""
    lines = [line for line in (FOLDER / f"{name}.txt").read_text().splitlines() if not line.startswith("# ")]

    wrong = [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if line.endswith("\\") != following.startswith("    --hash=")
    ]

    assert [] == wrong


@pytest.mark.parametrize("name", locks())
def test_no_lock_names_an_index(name: str) -> None:
    """A lock holds no address and no option of an installer: where packages come from is the host's business."""
    text = (FOLDER / f"{name}.txt").read_text()
    words = "\n".join(line for line in text.splitlines() if not line.startswith("# "))

    assert [] == re.findall(r"\S*(?:://|--index|--extra|--find-links|@ )\S*", text)
    assert {"--hash"} == set(re.findall(r"--[a-z-]+", words))


@pytest.mark.parametrize("name", locks())
def test_a_lock_is_of_its_engine(name: str) -> None:
    """The lock's name is what it installs."""
    engine, _, version = name.rpartition("-")

    assert {version} == pins(name)[engine]


@pytest.mark.parametrize("name", locks())
def test_markers_are_plain(name: str) -> None:
    """Packages depend on nothing but the Python's minor version and the machine, so all four cases can be read off."""
    markers = [match["marker"] for match in map(PIN.match, (FOLDER / f"{name}.txt").read_text().splitlines()) if match]

    assert [] == [marker for marker in markers if marker and not all(map(MARKER.fullmatch, marker.split(" and ")))]


@pytest.mark.parametrize("name", locks())
def test_a_lock_can_be_reviewed(name: str) -> None:
    """Hashes of wheels that no supported machine can load are left out: a lock stays below 100 kB."""
    assert 100_000 > len((FOLDER / f"{name}.txt").read_text())


@pytest.mark.parametrize("name", ["vllm-0.32.0", "vllm-0.33.0", "sglang-0.5.23"])
def test_cuda_comes_with_the_wheels(name: str) -> None:
    """Every lock brings the libraries of CUDA 13, and none of CUDA 12 beside them."""
    packages = pins(name)

    assert all(version.startswith("13.") for version in packages["nvidia-cuda-runtime"])
    assert {"nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13", "torch", "triton"} <= set(packages)
    assert not {"nvidia-cuda-runtime-cu12", "nvidia-cublas-cu12", "nvidia-cudnn-cu12"} & set(packages)


@pytest.mark.parametrize("name", locks())
def test_requirements_carry_text_hash_and_sizes(name: str) -> None:
    """What is planned with is the file's text and its hash, and sizes that CUDA's libraries alone explain."""
    engine, _, version = name.rpartition("-")

    found = requirements(engine, version)

    assert found is not None
    assert (FOLDER / f"{name}.txt").read_text() == found.text
    assert sha256(found.text.encode()).hexdigest() == found.sha256
    assert name == found.name
    assert 3 * GIB < found.download < found.installed < 16 * GIB


def test_sizes_are_of_the_locks() -> None:
    """No lock is without its sizes, and no sizes are without their lock."""
    sizes = tomllib.loads((FOLDER / "sizes.toml").read_text())

    assert locks() == sorted(sizes)
    assert {"x86_64", "aarch64"} == {
        key for entry in sizes.values() for key in entry if key not in {"pythons", "instead"}
    }


def test_a_departure_is_written_down() -> None:
    """What was locked instead of what the engine asks for stands in the lock's head, is locked, and is told."""
    for name in locks():
        engine, _, version = name.rpartition("-")
        found = requirements(engine, version)
        assert found is not None
        head = re.findall(r"^# Departs from what \S+ asks for: (\S+)$", found.text, re.MULTILINE)
        assert list(found.instead) == head
        assert all(entry.partition("==")[2] in pins(name)[entry.partition("==")[0]] for entry in found.instead)


def test_an_engine_without_a_lock() -> None:
    """A version that nobody has locked has no requirements; neither has an engine that is not a Python package."""
    assert requirements("vllm", "0.1.0") is None
    assert requirements("ollama", "0.33.3") is None


def test_locked_versions_are_in_order() -> None:
    """Versions are ordered by their numbers, oldest first."""
    assert ("0.32.0", "0.33.0") == locked_versions("vllm")
    assert ("0.5.23",) == locked_versions("sglang")
    assert () == locked_versions("ollama")


@pytest.mark.parametrize(
    ("engine", "version", "good", "bad"),
    [
        ("vllm", "0.33.0", ("3.11", "3.12", "3.13", "3.14"), ("3.9", "3.10", "3.15")),
        ("sglang", "0.5.23", ("3.11", "3.12"), ("3.10", "3.13", "3.14")),
    ],
)
def test_pythons_of_a_lock(engine: str, version: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    """A lock is for the Pythons of which every package has a wheel; SGLang 0.5.23 asks for one that stops at 3.12."""
    found = requirements(engine, version)

    assert found is not None
    assert {python: python in good for python in (*good, *bad)} == {
        python: found.runs_on(python) for python in (*good, *bad)
    }


@pytest.mark.parametrize(
    ("system", "python"),
    [
        (("debian", "12"), ("3.11", "python3")),
        (("debian", "13"), ("3.13", "python3")),
        (("ubuntu", "24.04"), ("3.12", "python3")),
        (("ubuntu", "26.04"), ("3.14", "python3")),
        (("rhel", "9.6"), ("3.12", "python3.12")),
        (("almalinux", "9"), ("3.12", "python3.12")),
        (("rocky", "10.1"), ("3.12", "python3")),
        (("ubuntu", "22.04"), None),
        (("rhel", "8.10"), None),
        (("alpine", "3.22"), None),
    ],
)
def test_python_of_a_distribution(system: tuple[str, str], python: tuple[str, str] | None) -> None:
    """The Python that a distribution has, where a lock is for it; the minor release of a RHEL does not matter."""
    assert python == python_of(*system)


@pytest.mark.parametrize("system", SYSTEMS)
def test_triton_finds_what_it_compiles_with(system: tuple[str, str]) -> None:
    """A native engine's host gets a C compiler, the C library's headers and those of its Python, and libnuma."""
    packages = system_packages(*system)
    python = python_of(*system)

    assert python is not None
    assert python[1] in packages
    assert {f"{python[1]}-dev", f"{python[1]}-devel"} & set(packages)
    assert "gcc" in packages
    assert {"libc6-dev", "glibc-devel"} & set(packages)
    assert {"libnuma1", "numactl-libs"} & set(packages)


def test_a_distribution_without_python_gets_no_packages() -> None:
    """Where no lock can be installed nothing else is."""
    assert () == system_packages("ubuntu", "22.04")


def test_packages_of_debian_exist_in_its_archive() -> None:
    """Names are those of Debian's and Ubuntu's archives, whose meta packages follow their Python."""
    expected = ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "libnuma1")

    assert expected == system_packages("debian", "13") == system_packages("ubuntu", "24.04")


@pytest.mark.parametrize(
    "entry", archives(), ids=lambda entry: f"{entry['engine']}-{entry['version']}-{entry['machine']}"
)
def test_archives_are_found_as_they_are_written(entry: dict[str, Any]) -> None:
    """Every entry is of its project's own release, of its version and machine, and is found."""
    found = archive(entry["engine"], entry["version"], entry["machine"])
    words = {"x86_64": ("amd64", "x64"), "aarch64": ("arm64",)}[entry["machine"]]

    assert found is not None
    assert entry["url"] == found.url
    for file in (found, *([found.libraries] if found.libraries else [])):
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.fullmatch(
            r"https://github\.com/(ollama/ollama|ggml-org/llama\.cpp)/releases/download/[^/]+/[^/]+", file.url
        )
        assert f"/{'v' if entry['engine'] == 'ollama' else ''}{entry['version']}/" in file.url
        assert any(word in file.url for word in words)


def test_no_two_archives_are_one() -> None:
    """Every checksum stands once: none was copied to another file."""
    sums = [entry["sha256"] for entry in archives()]
    sums += [entry["libraries"]["sha256"] for entry in archives() if "libraries" in entry]

    assert len(sums) == len(set(sums))


def test_ollama_brings_every_cuda() -> None:
    """Ollama's libraries are in its one archive."""
    found = archive("ollama", "0.33.3", "x86_64")

    assert found is not None
    assert "bin/ollama" == found.program
    assert found.libraries is None


def test_an_unknown_archive_is_none() -> None:
    """Without a confirmed checksum there is no archive: not for another version or machine."""
    assert archive("ollama", "0.1.0", "x86_64") is None
    assert archive("ollama", "0.33.3", "riscv64") is None
    assert archive("llamacpp", "b11669", "x86_64") is None


def test_the_tools_environment_has_the_same_uv() -> None:
    """The uv that installs engines on hosts is the one that this repository is developed with, hash by hash."""
    ours = (ROOT / "scripts/uv-requirements.txt").read_text()
    hosts = (ROOT / "hermeion/data/puller-requirements.txt").read_text()
    block = re.search(r"^uv==.*?(?=^\S|\Z)", hosts, re.MULTILINE | re.DOTALL)

    assert block is not None
    assert set(re.findall(r"uv==[\d.]+|sha256:[0-9a-f]{64}", ours)) == set(
        re.findall(r"uv==[\d.]+|sha256:[0-9a-f]{64}", block[0])
    )


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """``scripts/engine-lock``, not run."""
    loader = SourceFileLoader("engine_lock", str(ROOT / "scripts/engine-lock"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def wheel(name: str) -> dict[str, Any]:
    """A wheel as uv lists it."""
    return {"url": f"https://files.example/{name}", "hashes": {"sha256": "0" * 64}}


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("sys_platform == 'linux'", ""),
        ("platform_machine == 'aarch64' and sys_platform == 'linux'", " ; platform_machine == 'aarch64'"),
        ("python_full_version >= '3.12' and sys_platform == 'linux'", " ; python_version >= '3.12'"),
        ("python_full_version < '3.13'", " ; python_version <= '3.12'"),
        (
            "python_full_version == '3.11.*' and platform_machine == 'x86_64'",
            " ; python_version <= '3.11' and platform_machine == 'x86_64'",
        ),
        (
            "platform_machine == 'x86_64' and platform_python_implementation != 'PyPy'",
            " ; platform_machine == 'x86_64'",
        ),
    ],
)
def test_markers_are_made_short(maker: ModuleType, marker: str, expected: str) -> None:
    """A resolver's marker becomes the shortest one that says the same of the machines and Pythons of a lock."""
    cases = [(python, machine) for python in maker.PYTHONS for machine in maker.MACHINES]
    where = [case for case in cases if maker.applies({"name": "it", "marker": marker}, case)]

    assert expected == maker.as_marker(where, maker.PYTHONS, "it")


def test_what_depends_on_a_patch_release_is_refused(maker: ModuleType) -> None:
    """A package wanted by some patch releases of a Python alone cannot be locked for all of it."""
    with pytest.raises(SystemExit, match="it depends on the patch release of Python"):
        maker.applies({"name": "it", "marker": "python_full_version >= '3.12.4'"}, ("3.12", "x86_64"))


def test_what_is_no_range_is_refused(maker: ModuleType) -> None:
    """Pythons with a gap between them cannot be said in one marker."""
    with pytest.raises(SystemExit, match="where it is wanted cannot be said with one range"):
        maker.as_marker([("3.11", "x86_64"), ("3.13", "x86_64")], maker.PYTHONS, "it")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (("3.12", "x86_64"), "it-1-cp312-cp312-manylinux_2_28_x86_64.whl"),
        (("3.13", "x86_64"), "it-1-cp311-abi3-manylinux2014_x86_64.whl"),
        (("3.12", "aarch64"), "it-1-py3-none-any.whl"),
    ],
)
def test_the_wheel_that_an_installer_takes(maker: ModuleType, case: tuple[str, str], expected: str) -> None:
    """The most particular wheel that a host can load; not one for a newer C library or another kind of machine."""
    names = ["py3-none-any", "cp311-abi3-manylinux2014_x86_64", "cp312-cp312-manylinux_2_28_x86_64"]
    names += ["cp313-cp313-manylinux_2_39_x86_64", "cp313-cp313-win_amd64", "cp312-cp312-musllinux_1_2_aarch64"]

    picked = maker.pick({"wheels": [wheel(f"it-1-{name}.whl") for name in names]}, case)

    assert expected == maker.file_of(picked)


def test_sizes_are_read_from_the_end_of_a_wheel(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacked sizes are rounded up to blocks, sources count for their byte code too; only parts are asked for."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("it/lib.so", b"x" * 1_000_000)
        made.writestr("it/it.py", b"pass\n")
        made.writestr("it/empty", b"")
    content = file.getvalue()
    asked = []

    def ask(url: str, *, method: str = "GET", start: int | None = None, end: int = 0) -> Any:
        asked.append((method, start))
        return SimpleNamespace(headers={"Content-Length": str(len(content))}, read=lambda: content[start : end + 1])

    monkeypatch.setattr(maker, "ask", ask)

    assert (len(content), 245 * 4096 + 4096 + int(4096 * maker.BYTE_CODE)) == maker.measure("https://files.example/it")
    assert [] == [method for method, start in asked if start is None and method != "HEAD"]
