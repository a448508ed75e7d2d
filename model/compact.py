"""Training state that can be carried: a checkpoint in a third of its bytes, in small files.

    python -m model.compact save RUN OUT
    python -m model.compact restore OUT RUN

For machines that are taken away and whose disk goes with them. ``OUT/manifest.json`` names the
parts, at most ``--part-bytes`` each, with their hashes; `model.compact_codes` says what is lost.
Resuming from it continues at the same step, rows, schedule and metrics, but **not to the bit**:
use the checkpoint itself (``--resume``) where it can be had.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from golden.errors import InputError
from golden.files import made_folder

from .checkpoint import (
    COMPACT,
    MOMENTS,
    checkpoints,
    read_state,
    read_tensors,
    write_tensors,
)
from .compact_codes import (
    PARAMETER_CODES,
    decode_log8,
    decode_ratio8,
    encode_log8,
    encode_ratio8,
    expand,
    ratio_bound,
    squeeze,
)
from .compact_manifest import (
    FORMAT,
    LOST,
    NAME,
    VERSION,
    Entry,
    Manifest,
    check_same,
    parameters_of,
    read_settings,
)
from .errors import told
from .files import write_text
from .metrics import NAME as METRICS
from .metrics import metrics_text, read_metrics
from .parallel import World
from .parts import Part, PartReader, PartWriter, check_parts, remove_other_parts

PART_BYTES = 15_000_000
LEAST_PART_BYTES = 4096
MOST_WORKERS = 16
EPSILON = 1e-8  # of torch.optim.AdamW


def _newest(source: Path) -> tuple[Path, Path]:
    """Return checkpoint and run folder of a run folder or of a checkpoint in one."""
    source = Path(source)
    if source.name.startswith("step-"):
        return source, source.parent.parent
    found = checkpoints(source)
    if not found:
        raise InputError(f"a run folder must hold a checkpoint; there is none in {source}")
    return found[-1], source


def _in_order(
    calls: Iterator[tuple[Callable[..., Any], tuple[Any, ...]]],
) -> Iterator[Any]:
    """Call functions in threads, on all cores; give their results in order, few ahead.

    Each call has one core: PyTorch's own threads would be as many again for each of ours.
    """
    workers = min(os.cpu_count() or 1, MOST_WORKERS)
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting: list[Future[Any]] = []
            for function, arguments in calls:
                waiting.append(pool.submit(function, *arguments))
                if len(waiting) > 2 * workers:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
    finally:  # threads that start later take what was set last, by whichever thread
        torch.set_num_threads(threads)


def _encode(
    name: str, code: str, bound: float, values: tuple[Tensor, Tensor, Tensor]
) -> tuple[Entry, list[bytes], Tensor]:
    """Return entry and planes of a parameter, and sums of squares, fp64 ``[4]``.

    The sums are of errors and values of AdamW's next step, then of errors and values of a weight.
    """
    value, first, second = values
    for kind, tensor in zip(("parameter", *MOMENTS), values, strict=True):
        if not tensor.isfinite().all() or (tensor is second and (tensor < 0).any()):
            raise InputError(f"{kind}.{name} must be finite, and a second moment not below 0")
    encode, decode, _ = PARAMETER_CODES[code]
    own, squares = encode(value), encode_log8(second)
    decoded = decode_log8(squares, value.shape)
    shares = encode_ratio8(first, decoded, bound)
    entry = Entry(name, tuple(value.shape), code,
                  *(tuple(map(len, planes)) for planes in (own, squares, shares)))  # fmt: skip
    update = first / (second.sqrt() + EPSILON)
    after = decode_ratio8(shares, value.shape, decoded, bound) / (decoded.sqrt() + EPSILON)
    sums = [(after - update).norm(), update.norm(), torch.zeros(()), torch.zeros(())]
    if code != "exact":
        sums[2:] = [(decode(own, value.shape) - value).norm(), value.norm()]
    return entry, [*own, *squares, *shares], torch.stack(sums).double().square()


def save_compact(source: Path, out: Path, *, part_bytes: int = PART_BYTES) -> Manifest:
    """Write the compact state of a run's newest checkpoint, or of a checkpoint, to folder `out`.

    An older state of the same training in `out` is replaced once the new one is whole.

    Raises
    ------
    InputError
        If the checkpoint or ``metrics.csv`` cannot be read, holds what is not finite, or `out`
        holds a state of another training or of a later step.
    OSError
        If it cannot be written; the state before is kept.
    """
    if part_bytes < LEAST_PART_BYTES:
        raise InputError(f"part_bytes must be at least {LEAST_PART_BYTES}, not {part_bytes}")
    path, run = _newest(source)
    out = Path(out)
    state = read_state(path)
    step = int(state["step"])
    shapes, linears = parameters_of(state, str(path))
    bound = ratio_bound(read_settings(state, str(path)).betas)
    kept: tuple[Part, ...] = ()
    if (out / NAME).exists():
        older = Manifest.read(out)
        kept = older.parts
        check_same(older.state, state, str(out))
        if older.step > step:
            raise InputError(f"{out} holds step {older.step} already, later than {path}")
    metrics = metrics_text(row for row in read_metrics(run) if row["step"] <= step).encode()
    tensors = read_tensors(path)
    wanted = {f"{kind}.{name}": s for name, s in shapes.items() for kind in ("parameter", *MOMENTS)}
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != wanted:
        raise InputError(f"{path} must hold the model that its state.json names; it does not")

    def calls() -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
        for name in shapes:
            values = tuple(tensors.pop(f"{kind}.{name}") for kind in ("parameter", *MOMENTS))
            code = "bfloat16" if name in linears else "exact"
            yield _encode, (name, code, bound, values)

    with made_folder(out):
        try:
            manifest = _write(out, state, metrics, _in_order(calls()), part_bytes)
        except BaseException:
            remove_other_parts(out, kept)  # half a state is of no use
            raise
        remove_other_parts(out, manifest.parts)
    return manifest


def _write(
    out: Path,
    state: dict[str, Any],
    metrics: bytes,
    encoded: Iterator[tuple[Entry, list[bytes], Tensor]],
    part_bytes: int,
) -> Manifest:
    """Write parts and manifest of a state, whose parameters are `encoded`, what `_encode` gives."""
    writer = PartWriter(out, int(state["step"]), part_bytes)
    stream = squeeze(metrics)
    writer.write(stream)
    entries, sums = [], torch.zeros(4, dtype=torch.float64)
    for entry, planes, squares in encoded:
        entries.append(entry)
        sums += squares
        for plane in planes:
            writer.write(plane)
    writer.finish()
    error, update, weight_error, weight = sums.sqrt().tolist()
    measured = {
        "next_step": float(f"{error / max(update, 1e-30):.3g}"),
        "bfloat16_weights": float(f"{weight_error / max(weight, 1e-30):.3g}"),
    }
    manifest = Manifest(
        state, (len(metrics), len(stream)), tuple(entries), tuple(writer.parts), measured
    )
    manifest.write(out)
    return manifest


def _decode(entry: Entry, bound: float, planes: list[bytes]) -> dict[str, Tensor]:
    """Return a parameter and its moments by the names of checkpoints."""
    count = len(entry.parameter)
    second = decode_log8(planes[count:-1], entry.shape)
    return {
        f"parameter.{entry.name}": PARAMETER_CODES[entry.code][1](planes[:count], entry.shape),
        f"{MOMENTS[0]}.{entry.name}": decode_ratio8(planes[-1:], entry.shape, second, bound),
        f"{MOMENTS[1]}.{entry.name}": second,
    }


def restore_compact(folder: Path, run: Path, *, if_newer: bool = False) -> Path | None:
    """Make a checkpoint in folder `run` of the compact state in `folder`; return its path.

    Its ``state.json`` says where it is from, under ``compact``; ``metrics.csv`` is written too.
    With `if_newer` nothing is done, and None returned, if `run` is as far or further.

    Raises
    ------
    InputError
        If the state is damaged or not whole, or `run` holds checkpoints of another training, or
        one that is as new.
    CheckpointError, OSError
        If it cannot be written; what was there is kept.
    """
    manifest = Manifest.read(folder)
    state, run = manifest.state, Path(run)
    if found := checkpoints(run)[-1:]:
        ours = read_state(found[0])
        check_same(ours, state, str(found[0]))
        if int(ours["step"]) >= manifest.step:
            if if_newer:
                return None
            raise InputError(
                f"{run} holds step {ours['step']} already; {folder} is of step {manifest.step}"
            )
    bound = ratio_bound(manifest.betas)
    tensors: dict[str, Tensor] = {}
    with PartReader(folder, manifest.parts) as reader:
        metrics = expand(reader.read(manifest.metrics[1]), manifest.metrics[0])

        def calls() -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
            for entry in manifest.entries:
                yield _decode, (entry, bound, [reader.read(size) for size in entry.sizes])

        for decoded in _in_order(calls()):
            tensors |= decoded
    state = {**state, COMPACT: {"format": FORMAT, "version": VERSION, "lost": LOST}}
    with made_folder(run):
        new = not (run / METRICS).exists()
        try:
            # before the checkpoint: of lines past a checkpoint's step training drops its own
            write_text(run / METRICS, metrics.decode())
            return write_tensors(run, lambda: tensors, state, World(0, 1, torch.device("cpu")))
        except BaseException:
            if new:
                (run / METRICS).unlink(missing_ok=True)
            raise


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Carry training from one machine to another, in files of limited size.

    \b
    Example: python -m model.compact save run carried
             python -m model.compact check carried
             python -m model.compact restore carried run    (elsewhere; then train with --resume)
    """


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--part-bytes", default=PART_BYTES, show_default=True, help="Most bytes of a part.")
def save(run: Path, out: Path, part_bytes: int) -> None:
    """Write the state of RUN's newest checkpoint, or of a checkpoint, to folder OUT."""
    with told():
        manifest = save_compact(run, out, part_bytes=part_bytes)
    lost = manifest.loss_measured
    click.echo(
        f"step {manifest.step}: {manifest.bytes:,} bytes in {len(manifest.parts)} parts in {out}; "
        f"not to the bit: the next step changes by {100 * lost['next_step']:.2g} %, weights kept "
        f"in bfloat16 by {100 * lost['bfloat16_weights']:.2g} % (root mean square)"
    )


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
def check(out: Path) -> None:
    """Say what the state in OUT is of, once every part has been read and is as it was written."""
    with told():
        manifest = Manifest.read(out)
        check_parts(out, manifest.parts)
    click.echo(f"{out}: step {manifest.step}, {manifest.bytes:,} bytes in {len(manifest.parts)} "
               "parts, as they were written")  # fmt: skip


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--if-newer", is_flag=True, help="Do nothing if RUN is as far or further.")
def restore(out: Path, run: Path, if_newer: bool) -> None:
    """Make a checkpoint in RUN of the state in OUT; training goes on from it with --resume."""
    with told():
        path = restore_compact(out, run, if_newer=if_newer)
    if path is None:
        click.echo(f"{run} is as far as {out}, or further: nothing restored")
    else:
        click.echo(f"{path}: of a compact state; what follows is not to the bit what would have")


if __name__ == "__main__":
    main()
