"""Instructions of the step in one launch from barrier to barrier, counted in its machine code.

    python benchmarks/step_instructions.py --model fbi-7b --bits 16

Needs NVRTC and nvdisasm (CUDA toolkit), and no GPU. What is there once may run several times or not
at all (loops that stay, a clamp that is rarely taken): read it beside the code.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from gpu_worker import find_tool
from program import Program

from golden.config import named_model
from golden.errors import InputError
from signacc.baseline.step import StepShape, compile_step

INTEGER = frozenset((
    "F2FP", "FMNMX", "FSEL", "FSETP", "IADD3", "ISETP", "LEA", "LOP3", "PLOP3", "POPC", "PRMT",
    "SEL", "SHF", "VIADD", "VIADDMNMX", "VIMNMX",
))
"""What goes to the integer and logic unit, as far as known: two cycles of a scheduler a warp."""

MEMORY = frozenset(
    ("ATOMG", "LD", "LDG", "LDL", "LDS", "REDUX", "SHFL", "ST", "STG", "STL", "STS")
)
_LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z0-9_]+)")


@dataclass(frozen=True)
class Segment:
    """What stands between two barriers of a block; `end` is the address of the second."""

    end: int
    names: Counter[str]

    @property
    def count(self) -> int:
        """Instructions."""
        return self.names.total()

    def of(self, kinds: Iterable[str]) -> int:
        """Return how many are of these names."""
        return sum(self.names[name] for name in kinds)

    @property
    def cycles(self) -> int:
        """Least cycles of a scheduler for a warp: one each, and two of each integer one."""
        return max(self.count, 2 * self.of(INTEGER))


def segments_of(text: str) -> list[Segment]:
    """Return the segments of what nvdisasm prints; what follows the last barrier is one, too."""
    found, names, at = [], Counter(), 0
    for line in text.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        at = int(match[1], 16)
        names[match[2]] += 1
        if match[2] == "BAR":
            found.append(Segment(at, names))
            names = Counter()
    return [*found, Segment(at, names)] if names else found


@click.command(cls=Program)
@click.option("--model", default="fbi-7b", show_default=True)
@click.option("--bits", default="16", show_default=True, type=click.Choice(["16", "8"]))
@click.option("--blocks", default=132, show_default=True, type=click.IntRange(1),
              help="Processors of the GPU.")
def main(model: str, bits: str, blocks: int) -> None:
    """Print a line for each segment: where it ends, and how many instructions of what kind."""
    disassembler = find_tool("nvdisasm")
    code = compile_step(StepShape(named_model(model), int(bits), blocks))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "step.cubin"
        path.write_bytes(code)
        made = subprocess.run([disassembler, "-c", str(path)], capture_output=True, text=True,
                              check=False)
    if made.returncode:
        raise InputError(f"nvdisasm must read the kernel, and says: {made.stderr.strip()[:200]}")
    click.echo(f"{'ends at':>8s}{'all':>7s}{'integer':>9s}{'memory':>8s}{'BMMA':>6s}{'cycles':>8s}")
    for one in segments_of(made.stdout):
        click.echo(f"{one.end:8x}{one.count:7d}{one.of(INTEGER):9d}{one.of(MEMORY):8d}"
                   f"{one.names['BMMA']:6d}{one.cycles:8d}")


if __name__ == "__main__":
    main()
