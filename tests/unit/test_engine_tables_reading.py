"""How tables of engine versions are read out of releases, and the script that does it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.builders import ROOT
from tools.engine_tables import command, dockerfile, llamacpp, ollama, storage, vllm
from tools.engine_tables.releases import Found, Release, canonical
from tools.engine_tables.trees import Files, open_tree

SOURCE = {
    "vllm/utils/argparse_utils.py": "class FlexibleArgumentParser: ...\n",
    "vllm/config/cache.py": '''
from typing import Literal
Base = Literal["auto", "fp8"]
CacheDType = Literal[Base, "nvfp4"]
@config
class CacheConfig:
    gpu_memory_utilization: float = Field(default=0.9, gt=0)
    """Share."""
    cache_dtype: CacheDType = "auto"
    """Type."""
    free_dtype: CacheDType | str = "auto"
    enable_prefix_caching: bool | None = None
    names: str | list[str] | None = None
    old: int = 4
    """This is deprecated and will be removed."""
    allow_old: bool = False
    """Whether to allow deprecated quantization methods."""
''',
    "vllm/engine/arg_utils.py": """
from vllm.config.cache import CacheConfig
from typing import TYPE_CHECKING
_GONE = "--gone is deprecated."
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        cache_kwargs = get_kwargs(CacheConfig)
        cache_kwargs["cache_dtype"]["choices"].remove("nvfp4")
        group = parser.add_argument_group("CacheConfig")
        group.add_argument("--gpu-memory-utilization", "--share", dest="gpu_memory_utilization",
                           **cache_kwargs["gpu_memory_utilization"])
        group.add_argument("--kv-cache-dtype", **cache_kwargs["cache_dtype"])
        group.add_argument("--free-dtype", **cache_kwargs["free_dtype"])
        group.add_argument("--enable-prefix-caching", **{**cache_kwargs["enable_prefix_caching"], "default": None})
        group.add_argument("--served-model-name", **cache_kwargs["names"])
        group.add_argument("--old", **cache_kwargs["old"])
        group.add_argument("--allow-old", **cache_kwargs["allow_old"])
        group.add_argument("--gone", type=int, help=_GONE)
        return parser
    def get_batch_defaults(cls, world_size):
        if device_memory >= 70 * GiB_bytes and "a100" not in device_name:
            default_max_num_batched_tokens = {UsageContext.LLM_CLASS: 1, UsageContext.OPENAI_API_SERVER: 8192}
            default_max_num_seqs = {UsageContext.OPENAI_API_SERVER: 1024}
        else:
            default_max_num_batched_tokens = {UsageContext.OPENAI_API_SERVER: 2048}
            default_max_num_seqs = {UsageContext.OPENAI_API_SERVER: 256}
class AsyncEngineArgs(EngineArgs):
    @staticmethod
    def add_cli_args(parser, async_args_only=False):
        if not async_args_only:
            parser = EngineArgs.add_cli_args(parser)
        parser.add_argument("--enable-log-requests", action=argparse.BooleanOptionalAction)
        return parser
""",
    "vllm/entrypoints/openai/cli_args.py": '''
from vllm.engine.arg_utils import AsyncEngineArgs
@config
class FrontendArgs:
    port: int = 8000
    """Port."""
    allowed_origins: list[str] = field(default_factory=lambda: ["*"])
    @staticmethod
    def add_cli_args(parser):
        frontend_kwargs = get_kwargs(FrontendArgs)
        frontend_kwargs["allowed_origins"]["type"] = json.loads
        for key, value in frontend_kwargs.items():
            parser.add_argument(f"--{key}", **value)
def make_arg_parser(parser):
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--headless", action="store_true")
    parser = FrontendArgs.add_cli_args(parser)
    parser = AsyncEngineArgs.add_cli_args(parser)
    return parser
''',
    "vllm/tool_parsers/__init__.py": '_TOOL_PARSERS_TO_REGISTER = {"hermes": ("a", "B"), "beam": ("c", "D")}\n',
    "vllm/reasoning/__init__.py": '_REASONING_PARSERS_TO_REGISTER = {"qwen3": ("a", "B")}\n',
    "docker/Dockerfile": """
ARG CUDA_VERSION=13.0.3
FROM nvidia/cuda AS base
ARG torch_cuda_arch_list='7.5 12.0+PTX'
RUN useradd --uid 2000 --gid 0 vllm
FROM base AS vllm-openai
ENTRYPOINT ["vllm", "serve"]
FROM vllm-openai AS vllm-openai-nonroot
ENTRYPOINT ["/usr/local/bin/wrapper.sh"]
""",
}


def test_vllm_is_read_from_its_source() -> None:
    """Options, parsers, defaults and the image of a made-up vLLM come out as its parser would have them."""
    release = vllm.extract(Files(SOURCE), "9.9.0", "made up")

    assert {
        "headless": Found("flag"),
        "port": Found("int"),
        "allowed-origins": Found("json"),
        "gpu-memory-utilization": Found("float", (), ("share",)),
        "kv-cache-dtype": Found("str", ("auto", "fp8")),
        "free-dtype": Found("str"),
        "enable-prefix-caching": Found("flag", (), ("no-enable-prefix-caching",)),
        "served-model-name": Found("list"),
        "old": Found("int", deprecated=True),
        "allow-old": Found("flag", (), ("no-allow-old",)),
        "gone": Found("int", deprecated=True),
        "enable-log-requests": Found("flag", (), ("no-enable-log-requests",)),
    } == release.options
    assert (("beam", "hermes"), ("qwen3",)) == (release.tool_parsers, release.reasoning_parsers)
    assert {
        "gpu-memory-utilization": 0.9,
        "kv-cache-dtype": "auto",
        "port": 8000,
        "max-num-seqs": [{"memory": 70, "but": ["a100"], "value": 1024}, {"memory": 0, "value": 256}],
        "max-num-batched-tokens": [{"memory": 70, "but": ["a100"], "value": 8192}, {"memory": 0, "value": 2048}],
    } == release.defaults
    image = {"entrypoint": ["vllm", "serve"], "user": "2000:0", "cuda": "13.0.3", "capabilities": ["7.5", "12.0"]}
    assert image | {"port": 8000} == release.image


def test_flags_are_paired_since_vllm_has_a_class_for_it() -> None:
    """Where vLLM pairs --enable-x with --disable-x, so does the table."""
    paired = {"vllm/utils/argparse_utils.py": "class EnableDisableAction: ...\n"}
    release = vllm.extract(Files(SOURCE | paired), "9.9.0", "made up")

    assert ("disable-log-requests", "no-enable-log-requests") == release.options["enable-log-requests"].aliases


def test_source_that_changed_its_shape_is_refused() -> None:
    """A source without the files that are read is an error that names them, not an empty table."""
    with pytest.raises(ValueError, match=r"vLLM 9\.9\.0 has no vllm/entrypoints/\*/cli_args\.py in common, launchers"):
        vllm.extract(Files({}), "9.9.0", "made up")


HELP = """\
----- common params -----

-h,    --help, --usage                  print usage and exit
-c,    --ctx-size N                     size of the prompt context (default: 0, 0 = loaded from model)
                                        (env: LLAMA_ARG_CTX_SIZE)
-fa,   --flash-attn [on|off|auto]       set Flash Attention use
-kvo,  --kv-offload, -nkvo, --no-kv-offload
                                        whether to enable KV cache offloading (default: enabled)
-ctk,  --cache-type-k TYPE              KV cache data type for K
                                        allowed values: f32, f16
                                        (default: f16)
--ui,  --webui, --no-ui, --no-webui     whether to enable the Web UI (default: enabled)
--temp, --temperature N                 temperature (default: 0.80)
-lm,   --load-mode MODE                 model loading mode (default: auto)
                                        - none: no special loading mode
                                        - mmap: memory-map model
--draft, --draft-n N                    the argument has been removed. use --spec-draft-n-max
-dt,   --defrag-thold N                 KV cache defragmentation threshold (DEPRECATED)
--port PORT                             port to listen (default: 9931)
"""


def test_llamacpp_is_read_from_its_help() -> None:
    """Options of llama-server come out of what it prints, without those that it says are gone."""
    release = llamacpp.extract(HELP, "b1", "made up")

    assert {
        "ctx-size": Found("int", (), ("LLAMA_ARG_CTX_SIZE", "c")),
        "flash-attn": Found("str", ("auto", "off", "on"), ("fa",)),
        "kv-offload": Found("flag", (), ("kvo", "nkvo", "no-kv-offload")),
        "cache-type-k": Found("str", ("f16", "f32"), ("ctk",)),
        "ui": Found("flag", (), ("no-ui", "no-webui", "webui")),
        "temperature": Found("float", (), ("temp",)),
        "load-mode": Found("str", ("auto", "mmap", "none"), ("lm",)),
        "defrag-thold": Found("int", (), ("dt",), deprecated=True),
        "port": Found("int"),
    } == release.options
    assert 9931 == release.image["port"]


def test_ollama_is_read_from_its_source() -> None:
    """Environment variables come with their kind and default; proxies are not Ollama's own."""
    text = """
	keepAlive = 5 * time.Minute
	if s := Var("OLLAMA_KEEP_ALIVE"); s != "" {
	NoCloudEnv = Bool("OLLAMA_NO_CLOUD")
	NumParallel = Uint("OLLAMA_NUM_PARALLEL", 1)
		"OLLAMA_KEEP_ALIVE":   {"OLLAMA_KEEP_ALIVE", KeepAlive(), "How long"},
		"OLLAMA_NO_CLOUD":     {"OLLAMA_NO_CLOUD", NoCloud(), "Disable"},
		"OLLAMA_NUM_PARALLEL": {"OLLAMA_NUM_PARALLEL", NumParallel(), "Maximum"},
		"HTTP_PROXY":  {"HTTP_PROXY", String("HTTP_PROXY")(), "HTTP proxy"},
		ret["CUDA_VISIBLE_DEVICES"] = EnvVar{"CUDA_VISIBLE_DEVICES", CudaVisibleDevices(), "Set which"}
"""
    release = ollama.extract(text, "1.0.0", "made up")

    assert {
        "OLLAMA_KEEP_ALIVE": Found("str"),
        "OLLAMA_NO_CLOUD": Found("flag"),
        "OLLAMA_NUM_PARALLEL": Found("int"),
        "CUDA_VISIBLE_DEVICES": Found("str"),
    } == release.options
    assert {"OLLAMA_KEEP_ALIVE": "5m", "OLLAMA_NUM_PARALLEL": 1} == release.defaults


def test_name_is_the_destinations() -> None:
    """An option is called as its destination is, or by its first long spelling; a positional has no name."""
    assert ("tp-size", ("tensor-parallel-size",)) == canonical(["--tensor-parallel-size", "--tp-size"], "tp_size")
    assert ("quantization", ("q",)) == canonical(["--quantization", "-q"], "quantization")
    assert canonical([], "model_tag") is None


def test_a_renamed_destination_is_the_same_option() -> None:
    """Where the spellings stay and the destination changes, all versions have the option under the newest name."""
    old = Release("sglang", "1.0.0", "here", {"tensor-size": Found("int", (), ("tp",))})
    new = Release("sglang", "2.0.0", "here", {"tp": Found("int", (), ("tensor-size",))})
    kept = storage.harmonise({"1.0.0": old, "2.0.0": new})

    assert new.options == kept["1.0.0"].options


def test_image_is_empty_without_a_dockerfile() -> None:
    """A wheel says nothing of the image, and nothing is made up."""
    assert {} == dockerfile.vllm(None)


def test_difference_is_told() -> None:
    """Two readings that do not agree are told line by line."""
    one = Release("vllm", "1.0.0", "a", {"x": Found("int"), "y": Found("int")}, ("hermes",))
    other = Release("vllm", "1.0.0", "b", {"x": Found("str"), "z": Found("int")}, ("hermes", "beam"))
    told = command.differences(one, other)

    assert ["x:", "y:", "z:", "tool_parsers:"] == [line.split()[0] for line in told]
    assert [] == command.differences(one, one)


# --- the script -----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a Python that sees the standard library and its own folder alone."""
    script = str(ROOT / "scripts" / "engine-tables")
    return subprocess.run([sys.executable, "-I", "-S", script, *arguments], capture_output=True, text=True, check=False)


def test_script_needs_no_package() -> None:
    """Its help, with examples, comes without the project's environment."""
    done = run("--help")

    assert (0, "") == (done.returncode, done.stderr)
    assert "scripts/engine-tables vllm 0.34.0" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name an engine and a version, or give --check"),
        (
            ("ollama", "0.34.0"),
            1,
            "ollama is on no package index: give --from FILE, envconfig/config.go of that release",
        ),
        (("vllm", "0.34.0", "--from", "/nowhere.txt"), 1, "/nowhere.txt is neither a folder, nor a wheel"),
    ],
)
def test_script_says_what_is_wrong(arguments: tuple[str, ...], code: int, said: str) -> None:
    """A wrong call is one sentence, without a traceback."""
    done = run(*arguments)

    assert code == done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_version_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One call adds a version to the file and says what is new and what is gone."""
    for path, text in SOURCE.items():
        (tmp_path / "src" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / path).write_text(text)
    monkeypatch.setattr(storage, "FOLDER", tmp_path)
    monkeypatch.setattr(storage.load, "__defaults__", (tmp_path,))
    monkeypatch.setattr(storage.save, "__defaults__", (tmp_path,))
    first = vllm.extract(Files(SOURCE), "9.8.0", "made up")
    storage.save({"9.8.0": replace(first, options={"port": Found("int"), "away": Found("int")})})

    assert 0 == command.main(["vllm", "9.9.0", "--from", str(tmp_path / "src")])
    said = capsys.readouterr().out
    assert "vllm.json: vllm 9.9.0 has 12 options, from src" in said
    assert "gone: away" in said
    assert {"9.8.0", "9.9.0"} == set(storage.load("vllm"))
    assert storage.load("vllm")["9.9.0"].options == vllm.extract(open_tree(tmp_path / "src"), "9.9.0", "src").options
