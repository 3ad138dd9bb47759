"""``hermeion budget``: one engine's memory on one kind of GPU, term by term."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from hermeion.budgets import BudgetOptions, BudgetReport, make_budget
from hermeion.errors import InventoryError, ModelError
from hermeion.model_config import parse_config
from hermeion.units import format_bytes


def report_json(report: BudgetReport) -> dict[str, Any]:
    """The report as programs read it: every term in bytes, those of the first pipeline stage at the top."""
    first = report.ranks[0]
    ranks = [
        {
            "stage": stage,
            "weights_bytes": rank.weights + rank.scales + rank.rotary,
            "weights_elements_bytes": rank.weights,
            "weights_scales_bytes": rank.scales,
            "rotary_cache_bytes": rank.rotary,
            "activation_peak_bytes": rank.activations,
            "non_torch_bytes": rank.non_torch + rank.nccl,
            "nccl_bytes": rank.nccl,
            "cuda_graph_bytes": rank.graphs,
            "kv_cache_bytes": max(0, rank.kv_expected),
            "kv_cache_tokens": rank.kv_tokens_expected,
            "kv_bytes_per_token": rank.kv_per_token,
        }
        for stage, rank in enumerate(report.ranks)
    ]
    top = {key: value for key, value in ranks[0].items() if key != "stage"}
    return {
        "engine": report.engine,
        "engine_version": report.engine_version,
        "gpu": report.device.model.name if report.device.model else None,
        "device_bytes": report.device.cuda,
        "device_basis": report.device.basis,
        "requested_bytes": first.usable,
        **top,
        "kv_cache_bytes": max(0, report.kv_cache_bytes),
        "kv_cache_tokens": report.kv_cache_tokens,
        "short_by_bytes": max(0, -min(rank.kv_expected for rank in report.ranks)),
        "margin_bytes": first.margin,
        "precision": report.precision,
        "weights_factor": report.weights_factor,
        "kv_precision": report.kv_precision,
        "max_model_len": report.context,
        "max_num_seqs": report.sequences,
        "max_num_batched_tokens": report.batched_tokens,
        "gpu_memory_utilization": report.utilisation,
        "tensor_parallel_size": report.tensor_parallel,
        "pipeline_parallel_size": report.pipeline_parallel,
        "kv_bytes_per_request": report.kv_request_bytes,
        "longest_max_model_len": report.longest_context,
        "fits": report.fits,
        "defaults": report.defaults,
        "remarks": report.remarks,
        "ranks": ranks,
    }


def _table(report: BudgetReport) -> Table:
    title = f"{report.engine} {report.engine_version} on {report.device.basis}"
    table = Table("term", title=title, title_justify="left")
    for stage in range(len(report.ranks)):
        table.add_column("per GPU" if len(report.ranks) == 1 else f"stage {stage}", justify="right")
    for name in report.ranks[0].terms:
        table.add_row(name, *(format_bytes(rank.terms[name]) for rank in report.ranks))
    table.add_section()
    table.add_row("what CUDA sees", *(format_bytes(rank.device) for rank in report.ranks))
    table.add_row("KV cache expected", *(format_bytes(rank.kv_expected) for rank in report.ranks))
    table.add_row("KV tokens expected", *(f"{rank.kv_tokens_expected}" for rank in report.ranks))
    table.add_row("KV bytes per token", *(f"{rank.kv_per_token}" for rank in report.ranks))
    return table


def _show(report: BudgetReport) -> None:
    console = Console()
    console.print(_table(report))
    if report.fits:
        console.print(f"fits: a context of {report.context} tokens; {report.kv_cache_tokens} tokens are expected")
    else:
        console.print(
            f"does not fit: a context of {report.context} tokens needs {format_bytes(report.kv_request_bytes)} of KV "
            f"cache a GPU, {format_bytes(max(0, report.kv_cache_bytes))} are expected; the longest context that fits "
            f"is {max(0, report.longest_context)} tokens"
        )
    taken = ", ".join(f"{key} {value}" for key, value in report.defaults.items())
    console.print(f"taken as the engine's own: {taken or 'nothing'}", highlight=False, soft_wrap=True)
    for remark in report.remarks:
        console.print(f"mind: {remark}", highlight=False, soft_wrap=True)


def budget(
    config: Annotated[Path, typer.Option(help="config.json of the model.")],
    gpu_total_mib: Annotated[float, typer.Option(help="Memory of a GPU in MiB, as nvidia-smi or CUDA says it.")],
    weights_bytes: Annotated[int | None, typer.Option(help="Size of the weights' files in bytes.")] = None,
    gpus: Annotated[
        int | None, typer.Option(help="GPUs that there are. Left out: --tp × --pp; alone it is --tp × --pp.")
    ] = None,
    tp: Annotated[int | None, typer.Option(help="Tensor-parallel size. Left out: --gpus / --pp.")] = None,
    pp: Annotated[int | None, typer.Option(help="Pipeline-parallel size. Left out: 1.")] = None,
    engine: Annotated[str, typer.Option(help="vllm, sglang, llamacpp or ollama.")] = "vllm",
    engine_version: Annotated[
        str | None, typer.Option(help="Version of the engine. Left out: the newest known.")
    ] = None,
    max_model_len: Annotated[
        int | None, typer.Option(help="Context in tokens. Left out: what the model was made for.")
    ] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(help="Share of the GPU that vLLM may take, or SGLang's --mem-fraction-static.")
    ] = None,
    max_num_seqs: Annotated[int | None, typer.Option(help="Requests at the same time.")] = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(help="Tokens of one step.")] = None,
    kv_cache_dtype: Annotated[str, typer.Option(help="auto, fp8, bfloat16; llama.cpp: f16, q8_0, q4_0.")] = "auto",
    quantization: Annotated[
        str | None, typer.Option(help="none, or fp8 to quantise while loading. Left out: as config.json says.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
    enforce_eager: Annotated[bool, typer.Option("--enforce-eager", help="Without CUDA graphs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs: every term in bytes.")] = False,
) -> None:
    """Compute what an engine needs on each GPU for a model, before anything is downloaded.

    `kv_cache_bytes` and `kv_cache_tokens` are what the engine is expected to print; the margin that a plan keeps
    is shown beside them.

    Example: `hermeion budget --config config.json --gpu-total-mib 81559 --tp 2 --max-model-len 32768 --json`
    """
    values = {
        "gpu_total_mib": round(gpu_total_mib),
        "weights_bytes": weights_bytes,
        "gpus": gpus,
        "tp": tp,
        "pp": pp,
        "engine": engine,
        "engine_version": engine_version,
        "max_model_len": max_model_len,
        "gpu_memory_utilization": gpu_memory_utilization,
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens,
        "kv_cache_dtype": kv_cache_dtype,
        "quantization": quantization,
        "dtype": dtype,
        "enforce_eager": enforce_eager,
    }
    try:
        options = BudgetOptions.model_validate(values)
    except ValidationError as error:
        lines = [
            f"--{str(problem['loc'][0]).replace('_', '-')}: {problem['msg'][0].lower()}{problem['msg'][1:]} "
            f"(found {problem['input']!r})"
            for problem in error.errors()
        ]
        raise InventoryError("\n".join(lines)) from error
    try:
        text = config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"--config: {config} cannot be read: {error}") from error
    report = make_budget(parse_config(text, str(config)), options)
    if as_json:
        typer.echo(json.dumps(report_json(report), indent=2))
    else:
        _show(report)
