"""Shares of peak by DRAMsim3, our replay and our closed forms: the same parts, the same trace.

    git clone https://github.com/umd-memsys/DRAMsim3
    cmake -S DRAMsim3 -B DRAMsim3/build -DCMAKE_BUILD_TYPE=Release && make -C DRAMsim3/build
    python benchmarks/dram.py --dramsim3 DRAMsim3 --out benchmarks/results/dram.json

Every part is one channel of a file of DRAMsim3's, timing and organisation as they stand there; ours
is made from the same file. Two address mappings: bank group lowest ("interleaved"), and column
lowest ("one group"). A trace is always available and never ends while DRAMsim3 runs.
"""

from __future__ import annotations

import configparser
import json
import subprocess
import tempfile
from pathlib import Path

import click
from program import OutputFile, Program
from record import write_record

from sim.memory.commands import (
    Bursts,
    chunk_bursts,
    mixed_bursts,
    placed,
    replay,
    sequential_bursts,
)
from sim.memory.timing import DramTiming

PARTS = ("DDR4_8Gb_x8_2400", "DDR4_8Gb_x8_3200", "LPDDR4_8Gb_x16_2400", "HBM2_8Gb_x128")
MAPPINGS = {"interleaved": "rorabacobgch", "one group": "rorabgbacoch"}
SEED = 1
EVERY = 8


def read_part(path: Path) -> configparser.ConfigParser:
    """Return DRAMsim3's description of a part, set to one channel."""
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",))
    parser.optionxform = str
    parser.read_string(path.read_text())
    if int(parser["system"]["channels"]) > 1:
        parser["system"]["channels"] = "1"
    return parser


def timing_of(name: str, part: configparser.ConfigParser) -> DramTiming:
    """Return the same part as ours: cycles times tCK, the sizes as DRAMsim3 derives them."""
    structure, cycles, system = part["dram_structure"], part["timing"], part["system"]
    clock = float(cycles["tCK"])

    def time(*names: str) -> float:
        return next(float(cycles[key]) for key in names if key in cycles) * clock

    hbm = structure["protocol"].startswith("HBM")
    width = int(system["bus_width"])
    # HBM's columns are counted in prefetches of two
    page = int(structure["columns"]) * (2 if hbm else 1) * width // 8
    banks = int(structure["bankgroups"]) * int(structure["banks_per_group"])
    rank_bytes = page * int(structure["rows"]) * banks
    return DramTiming(
        name=name, source=f"DRAMsim3 configs/{name}.ini", rate_mt_s=2e3 / clock,
        width_bits=width, burst_length=int(structure["BL"]),
        ranks=max(1, int(system["channel_size"]) * 2**20 // rank_bytes),
        bank_groups=int(structure["bankgroups"]),
        banks_per_group=int(structure["banks_per_group"]), page_bytes=page, t_ck=clock,
        t_rcd=time("tRCD", "tRCDRD"), t_rp=time("tRP"), t_ras=time("tRAS"),
        t_ccd_s=time("tCCD_S"), t_ccd_l=time("tCCD_L"), t_rrd_s=time("tRRD_S"),
        t_rrd_l=time("tRRD_L"), t_faw=time("tFAW"), t_rfc=time("tRFC"), t_refi=time("tREFI"),
        t_cl=time("CL"), t_cwl=time("CWL"), t_rtp=time("tRTP", "tRTP_L"), t_wr=time("tWR"),
        t_wtr=time("tWTR_L"), t_rtrs=float(cycles.get("tRTRS", "1")) * clock,
    )  # fmt: skip


def dramsim3(
    program: Path, part: configparser.ConfigParser, timing: DramTiming, mapping: str,
    bursts: Bursts, cycles: int,
) -> tuple[float, dict[str, object]]:  # fmt: skip
    """Return the share of peak that DRAMsim3 gives `bursts` in `cycles` clocks, and its counts."""
    part["system"]["address_mapping"] = mapping
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, "part.ini").open("w") as file:
            part.write(file, space_around_delimiters=True)
        with Path(folder, "trace.txt").open("w") as file:
            for burst, write in bursts:
                file.write(f"{burst * timing.burst_bytes:#x} {'WRITE' if write else 'READ'} 0\n")
        subprocess.run(
            [program.resolve(), "part.ini", "-c", str(cycles), "-t", "trace.txt"],
            cwd=folder, check=True, capture_output=True,
        )
        found = json.loads(Path(folder, "dramsim3.json").read_text())["0"]
    moved = found["num_reads_done"] + found["num_writes_done"]
    if moved > 0.98 * len(bursts):
        raise click.ClickException(f"DRAMsim3 did {moved} of {len(bursts)} bursts: trace too short")
    counts = {key: found[key] for key in ("num_cycles", "num_reads_done", "num_writes_done")}
    return moved * timing.burst_ns / (found["num_cycles"] * timing.t_ck), counts


def patterns(timing: DramTiming, count: int) -> dict[str, tuple[Bursts, object]]:
    """Return, by name, the bursts of a pattern and the closed form of its share."""
    found: dict[str, tuple[Bursts, object]] = {
        "sequential": (sequential_bursts(count), timing.sequential_share),
        f"{EVERY - 1} reads a write": (
            mixed_bursts(count, EVERY), lambda **how: timing.mixed_share(1 / EVERY, **how)
        ),
    }  # fmt: skip
    for size in (4096, 1024, 256, timing.burst_bytes):
        found[f"random {size} B"] = (
            chunk_bursts(timing, size, count, seed=SEED),
            lambda size=size, **how: timing.chunk_share(size, **how),
        )
    return found


@click.command(cls=Program)
@click.option("--dramsim3", "folder", required=True,
              type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--cycles", type=click.IntRange(min=20_000), default=200_000, show_default=True)
@click.option("--out", required=True, type=OutputFile())
def main(folder: Path, cycles: int, out: Path) -> None:
    rows = []
    for name in PARTS:
        part = read_part(folder / "configs" / f"{name}.ini")
        timing = timing_of(name, part)
        count = int(1.1 * cycles * timing.t_ck / timing.burst_ns)
        for pattern, (bursts, closed) in patterns(timing, count).items():
            for how, mapping in MAPPINGS.items():
                theirs, counts = dramsim3(
                    folder / "build/dramsim3main", part, timing, mapping, bursts, cycles
                )
                interleaved = how == "interleaved"
                row = {
                    "part": name, "pattern": pattern, "mapping": how, "dramsim3": theirs,
                    "closed_form": closed(interleaved=interleaved),
                    "replay": replay(timing, placed(timing, bursts, interleaved=interleaved)),
                    **counts,
                }  # fmt: skip
                rows.append(row)
                print(f"{name:22}{pattern:16}{how:12}{theirs:7.1%}{row['closed_form']:7.1%}"
                      f"{row['replay']:7.1%}", flush=True)  # fmt: skip
    write_record(out, {"seed": SEED, "cycles": cycles, "rows": rows}, ("signacc",))


if __name__ == "__main__":
    main()
