"""Runs every 1-bit kernel on small shapes under compute-sanitizer, and holds it to golden.

    python benchmarks/gpu_sanitize.py --tool memcheck --tool racecheck

The counts of vectors reach every kernel and leave each of them a batch that is not full. A check
that fails or hangs leaves its reason and the rest goes on (gpu_worker.py).
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import click
from gpu_worker import Task, Tasks, find_tool, supervise
from program import OutputFile, Program

from golden.config import ModelConfig
from signacc.baseline.plan import GEMMS, ONE_LAUNCH
from signacc.files import write_text

CONFIG = ModelConfig(
    hidden_size=512, intermediate_size=768, num_hidden_layers=1, num_attention_heads=8,
    num_key_value_heads=4, vocab_size=64, max_position_embeddings=64,
)
COUNTS = (1, 3, 20, 50, 150)
"""Vectors, unless given: each takes another tile."""

MOST = 80
"""Lines of a tool's report that are kept."""

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")


def check_kernels(tasks: Tasks, gemms: tuple[str, ...], counts: tuple[int, ...]) -> None:
    """Check each GEMM, width and count: the largest error, as a share of what is allowed."""
    from signacc.baseline.device import require_gpu
    from signacc.baseline.gate import check_linears, check_model, require
    from signacc.baseline.sign_path import SignPath

    def check(gemm: str, bits: int, limit: int, count: int) -> dict[str, object]:
        path = SignPath(CONFIG, require_gpu(), act_bits=bits, gemv_limit=limit, gemm=gemm)
        found = check_linears(path, count=count)
        require([found])
        return {"error_share": found.error}

    def check_step(bits: int) -> dict[str, object]:
        path = SignPath(CONFIG, require_gpu(), act_bits=bits)
        path.start_early(ONE_LAUNCH)
        found = check_model(path, batch=1, past=33, length=0)
        require(found)
        return {"error_share": found[0].error / found[0].allowed}

    if ONE_LAUNCH in SignPath(CONFIG, require_gpu()).early_ways:
        for bits in (16, 8):
            tasks.run({"key": f"{ONE_LAUNCH} a{bits}"}, lambda one=bits: check_step(one))
    for gemm in gemms:
        for bits in (16, 8):
            for limit in (16, 0):  # as the path does, and all counts by the GEMM
                for count in counts:
                    key = f"{gemm} a{bits}, GEMV up to {limit}, {count} vectors"
                    if limit == 0 or count > limit or gemm == gemms[0]:  # each GEMV once
                        tasks.run({"key": key}, lambda one=(gemm, bits, limit, count): check(*one))


def findings_of(said: str) -> list[str]:
    """Return the lines of a tool's output that report something, at most :data:`MOST`."""
    marked = (line.strip("= ").rstrip() for line in said.splitlines() if line.startswith("===="))
    found = [line for line in marked if line and not line.startswith(("COMPUTE-SANITIZER", "Host"))]
    return found[:MOST]


def table(
    results: dict[str, list[Task]], summaries: dict[str, str], findings: dict[str, list[str]]
) -> str:
    """Return a line for each tool, what it reported, and the reasons of what failed."""
    lines = []
    for tool, found in results.items():
        passed = sum("error_share" in one for one in found)
        failed = [one for one in found if "reason" in one]
        lines.append(f"{tool:10s} {passed:3d} checks passed, {len(failed)} without a result; "
                     f"{summaries[tool]}")
        lines += [f"    {line[:160]}" for line in findings[tool]]
        lines += [f"    {one['key']}: {one['reason'][:160]}" for one in failed]
    return "\n".join(lines)


@click.command(cls=Program)
@click.option("--tool", "tools", multiple=True, type=click.Choice(TOOLS), default=TOOLS[:1],
              show_default=True, help="Of compute-sanitizer; repeat for several.")
@click.option("--gemm", "gemms", multiple=True, type=click.Choice(GEMMS), default=GEMMS,
              show_default=True, help="Only these; may be given several times.")
@click.option("--count", "counts", multiple=True, type=click.IntRange(1), default=COUNTS,
              show_default=True, help="Vectors; may be given several times.")
@click.option("--seconds", default=240.0, show_default=True, type=click.FloatRange(1),
              help="Time of everything.")
@click.option("--out", type=OutputFile(), help="Write results here.")
@click.option("--worker", type=click.Path(file_okay=False, path_type=Path), hidden=True)
def main(
    tools: tuple[str, ...], gemms: tuple[str, ...], counts: tuple[int, ...], seconds: float,
    out: Path | None, worker: Path | None,
) -> None:
    """Print what each tool found; exit with 1 if anything failed."""
    if worker is not None:
        check_kernels(Tasks(worker), gemms, counts)
        return
    from signacc.baseline.device import require_gpu

    require_gpu()
    sanitizer = find_tool("compute-sanitizer")
    os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"  # each tensor its own bounds
    end = time.monotonic() + seconds
    results: dict[str, list[Task]] = {}
    summaries: dict[str, str] = {}
    findings: dict[str, list[str]] = {}
    for i, tool in enumerate(tools):
        with tempfile.TemporaryDirectory() as name:
            command = [sanitizer, "--tool", tool, "--error-exitcode", "3", sys.executable,
                       *sys.argv, "--worker", name]
            left = (end - time.monotonic()) / (len(tools) - i)
            results[tool] = supervise(command, Path(name), seconds=left, still=60.0)
            said = (Path(name) / "said.txt").read_text(encoding="utf-8", errors="replace")
        found = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", said)
        findings[tool] = findings_of(said)
        summaries[tool] = found[-1] if found else "no summary: the last process did not end"
        if out is not None:
            content = {"results": results, "summaries": summaries, "findings": findings}
            write_text(out, json.dumps(content, indent=1) + "\n")
    click.echo(table(results, summaries, findings))
    if any("reason" in one for found in results.values() for one in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
