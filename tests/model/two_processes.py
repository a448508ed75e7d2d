"""Run by test_parallel under torchrun: the tiny model under both engines, whole and in parts."""

import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path

from model.carry import take
from model.parallel import run_program
from tests.model.test_parallel import SHORT
from tests.model.tiny import run


def main() -> None:
    warnings.simplefilter("error")
    out = Path(sys.argv[1])
    for engine in ("ddp", "fsdp"):
        run(out / engine, SHORT, parallel=engine)
        kept = []
        run(out / f"{engine}-parts", SHORT, parallel=engine, stop_after=3, keep_minutes=1e-9,
            kept=lambda _, step, kept=kept: kept.append(step))  # fmt: skip
        # by the first process's word; what follows the last is the caller's
        assert kept == ([1, 2] if os.environ["RANK"] == "0" else []), kept
        if os.environ["RANK"] == "0":
            take(out / f"{engine}-parts", out / f"{engine}-state", 3)
        run(out / f"{engine}-parts", SHORT, parallel=engine, resume=True)
        # the run before began with a collective: the state is whole by now
        carry = out / f"{engine}-state"
        run(out / f"{engine}-carried", SHORT, parallel=engine, resume=True, carry=carry)
    run(out / "fsdp-recompute", replace(SHORT, recompute=True), parallel="fsdp")


if __name__ == "__main__":
    run_program(main)
