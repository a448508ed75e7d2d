"""Synthesis, then place and route over several seeds; what is finished is not run again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from signacc.cosim.toolchain import ToolError
from signacc.files import write_text

from .cells import RULES, Count, cells_of, check_fit, count
from .harness import INSTANCE, make_harness, ports_of
from .pack import Packed, pack_ecp5, pack_nexus
from .steps import KEEP_COPIES, MULTIPLIERS, TECHMAPS
from .targets import Target
from .tools import Job, Tool, find_nextpnr, find_yosys, run

_FORMAT = "10"
"""Changes when the flow does: results of another flow are not taken for this one's."""

# Slowest path through a MULT18X18D with registers on both sides, ns, by speed grade: nextpnr times
# none. Taken from its own figures, input register to product pin without an output register.
_MULTIPLIER_NS = {"6": 3.86, "7": 3.45, "8": 3.05}


@dataclass(frozen=True, kw_only=True)
class Design:
    """What goes through the flow.

    Attributes
    ----------
    verilog
        The text.
    top
        Its top module.
    clock
        The clock input.
    lpf
        Pins (Lattice format); given, the top's ports go to real pins, and there is no frame.
    """

    verilog: str
    top: str
    clock: str = "clk"
    lpf: str | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the flow runs.

    Attributes
    ----------
    speed
        Speed grade, or None: the slowest.
    freq
        Clock to aim at, MHz.
    seeds
        Seeds of the placer, one run each.
    no_rw_check
        Let Yosys assume that no RAM's read address is ever the one being written.
    pack
        Rewrite the netlist between Yosys and nextpnr (ECP5).
    """

    speed: str | None = None
    freq: float = 100.0
    seeds: tuple[int, ...] = (1,)
    no_rw_check: bool = False
    pack: bool = True


@dataclass(frozen=True)
class Synthesis:
    """What synthesis made of the design alone.

    Attributes
    ----------
    count
        Cells, after the rewrites if there were any.
    mapped
        Cells as Yosys left them.
    packed
        Rewrites done, or None.
    estimate
        Yosys' own estimate of logic cells (Xilinx), or None.
    seconds
        Run time; of the run that made it, if it was there already.
    yosys
        Version.
    """

    count: Count
    mapped: dict[str, int]
    packed: Packed | None
    estimate: int | None
    seconds: float
    yosys: str


@dataclass(frozen=True)
class Step:
    """A piece of the critical path.

    Attributes
    ----------
    kind
        clk-to-q, logic, routing or setup.
    ns
        Delay.
    cell, net
        The cell passed or reached; the net, of routing.
    """

    kind: str
    ns: float
    cell: str
    net: str | None


@dataclass(frozen=True)
class Placement:
    """One seed's result.

    Attributes
    ----------
    seed
        Of the placer.
    fmax_mhz
        Clock that its timing analysis allows.
    limited_by
        "path", or "multiplier" where registered multipliers, which are not timed, set the limit.
    used
        Cells after packing, by nextpnr's types.
    critical_path
        From register to register.
    through_design
        Whether that path touches the design, not the frame alone.
    seconds
        Run time.
    met
        Whether every clock reaches what was asked of it.
    config
        File for ecppack, where pins were given.
    """

    seed: int
    fmax_mhz: float
    limited_by: str
    used: dict[str, int]
    critical_path: list[Step] = field(repr=False)
    through_design: bool
    seconds: float
    met: bool
    config: str | None


@dataclass(frozen=True)
class Result:
    """What the flow measured.

    Attributes
    ----------
    target, speed
        Device.
    synthesis
        Of the design alone.
    harness
        Cells of the frame, or None.
    placements
        One a seed; empty where the target has no place and route, or none was asked for.
    nextpnr
        Version, or None.
    """

    target: Target
    speed: str
    synthesis: Synthesis
    harness: Count | None
    placements: list[Placement]
    nextpnr: str | None

    @property
    def fmax_mhz(self) -> dict[str, float] | None:
        """Return the clock's least, middle and greatest value over the seeds."""
        clocks = [placement.fmax_mhz for placement in self.placements]
        if not clocks:
            return None
        return {"min": min(clocks), "median": statistics.median(clocks), "max": max(clocks)}

    @property
    def placed_lut(self) -> int | None:
        """Return the LUTs of the design after placement, the frame's not counted."""
        return self._placed("TRELLIS_COMB", "ICESTORM_LC", "OXIDE_COMB", "LUT4")

    def _placed(self, *kinds: str) -> int | None:
        if not self.placements:
            return None
        used = self.placements[0].used
        found = next((used[kind] for kind in kinds if kind in used), None)
        if found is None or self.harness is None:
            return found
        # An iCE40 logic cell holds a LUT with its flip-flop: the frame's are its flip-flops.
        own = self.harness.ff if "ICESTORM_LC" in used else self.harness.lut
        return found - own

    def to_json(self) -> dict[str, Any]:
        """Return all of it for machines."""
        return {
            "target": {
                "name": self.target.name, "device": self.target.device, "speed": self.speed,
                "capacity": {
                    name: {"label": resource.label, "available": resource.available}
                    for name, resource in self.target.resources.items()
                },
                "source": self.target.source,
            },
            "lut_rule": RULES[self.target.family],
            "synthesis": {
                "mark": "measured",
                **self.synthesis.count.to_json(),
                "mapped": self.synthesis.mapped,
                "rewrites": None if self.synthesis.packed is None
                else asdict(self.synthesis.packed),
                "yosys_estimated_lcs": self.synthesis.estimate,
                "seconds": self.synthesis.seconds,
            },
            "harness": None if self.harness is None else self.harness.to_json(),
            "place_and_route": None if not self.placements else {
                "mark": "measured",
                "fmax_mhz": self.fmax_mhz,
                "lut": self.placed_lut,
                "seeds": [asdict(placement) for placement in self.placements],
            },
            "tools": {"yosys": self.synthesis.yosys, "nextpnr": self.nextpnr},
        }


def implement(
    design: Design,
    target: Target,
    options: Options,
    work: Path,
    *,
    place: bool = True,
    parallel: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Synthesize a design, check that it fits, place and route it.

    Parameters
    ----------
    work
        Folder for results; made if it is not there. What it holds from a run of the same text,
        options and tool versions is used, not made again.
    place
        Go on to place and route, if the target has it.
    parallel
        Seeds that run at the same time.
    say
        Told what is going on.

    Raises
    ------
    InputError
        If the design does not fit the device, or cannot be framed.
    ToolError
        If a tool is missing or fails.
    """
    speed = target.speed(options.speed)
    yosys = find_yosys()
    placing = place and target.nextpnr is not None
    nextpnr = find_nextpnr(target.nextpnr) if placing and target.nextpnr else None
    work.mkdir(parents=True, exist_ok=True)
    say("synthesis")
    synthesis, netlist = _synthesis(design, target, options, yosys, work)
    check_fit(synthesis.count, target, design.top)
    if nextpnr is None:
        return Result(target, speed, synthesis, None, [], None)
    harness = None
    if design.lpf is None:
        say("synthesis of the frame")
        harness, netlist = _framed(design, target, yosys, netlist, work)
        check_fit(_sum(synthesis.count, harness, target.family), target,
                  f"{design.top} with its frame")
    placements = _place(design, target, options, speed, nextpnr, netlist, work, parallel, say,
                        synthesis.packed)
    return Result(target, speed, synthesis, harness, placements, nextpnr.version)


def _sum(first: Count, second: Count, family: str) -> Count:
    kinds = set(first.cells) | set(second.cells)
    return count({k: first.cells.get(k, 0) + second.cells.get(k, 0) for k in kinds}, family)


def _key(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in (_FORMAT, *parts):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


@contextmanager
def scratch(work: Path) -> Iterator[Path]:
    """Give a folder beside the results, gone when the block ends, however it ends."""
    folder = Path(tempfile.mkdtemp(dir=work, prefix=".run-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(source: Path, target: Path) -> None:
    """Move a finished file to its place, whole or not at all."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(source, target)


def _load(path: Path) -> Any:
    """Return a JSON file's content, or None if it is not there or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


# ---- synthesis ---------------------------------------------------------------------------


def _yosys(design: str, yosys: Tool, verilog: str, script: Sequence[str], work: Path,
           files: Mapping[str, str] | None = None) -> tuple[Any, str, float]:
    """Run a Yosys script on `verilog`; return the netlist, the text of stat, and the seconds."""
    with scratch(work) as folder:
        (folder / "design.v").write_text(verilog, encoding="utf-8")
        for name, text in (files or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        lines = ["read_verilog design.v", *script, "write_json netlist.json"]
        (folder / "synthesis.ys").write_text("\n".join(lines) + "\n", encoding="utf-8")
        log = folder / "yosys.log"
        taken: list[float] = []
        job = Job(f"synthesis of {design}", (*yosys.command, "synthesis.ys"), folder, log)
        try:
            run([job], on_done=lambda _, seconds: taken.append(seconds))
        except ToolError as error:
            kept = work / "yosys-failed.log"
            keep(log, kept)
            raise ToolError(f"{error} (log: {kept})") from None
        netlist = _load(folder / "netlist.json")
        if netlist is None:
            raise ToolError(f"synthesis of {design} wrote no netlist")
        stat = folder / "stat.txt"
        return netlist, stat.read_text() if stat.is_file() else "", taken[0]


def _synthesis(design: Design, target: Target, options: Options, yosys: Tool,
               work: Path) -> tuple[Synthesis, Any]:
    check = [] if not options.no_rw_check or target.family == "xcup" else ["-no-rw-check"]
    command = [*target.synthesis, *check, "-top", design.top]
    framed = design.lpf is None
    if target.family == "gowin" and framed:
        command.append("-noiopads")
    if target.family == "nexus" and framed:
        command.append("-noiopad")
    techmaps = TECHMAPS.get(target.family, {}).values()
    files = {path.name: path.read_text(encoding="utf-8") for path in techmaps}
    script = [
        *(f"techmap -map {name}" for name in files),
        f"hierarchy -top {design.top}", *KEEP_COPIES, *MULTIPLIERS.get(target.name, ()),
        " ".join(command),
    ]
    if target.family == "xcup":
        script.append("tee -q -o stat.txt stat -tech xilinx")
    packing = options.pack and target.family == "ecp5"
    key = _key(design.verilog, design.top, *script, *files.values(), str(packing), yosys.version)
    record, netlist_file = work / f"synthesis-{key}.json", work / f"netlist-{key}.json"
    known, netlist = _load(record), _load(netlist_file)
    if known is None or netlist is None:
        netlist, stat, seconds = _yosys(design.top, yosys, design.verilog, script, work,
                                        files)
        module = netlist["modules"][design.top]
        netlist["modules"] = {design.top: module}  # without the cells' own black boxes
        mapped = cells_of(module)
        packed = asdict(pack_ecp5(module)) if packing else None
        if target.family == "nexus":
            pack_nexus(module)
        write_text(netlist_file, json.dumps(netlist))
        known = {
            "mapped": mapped, "packed": packed, "estimate": _estimate(stat), "seconds": seconds,
            "yosys": yosys.version,
        }
        write_text(record, json.dumps(known, indent=1) + "\n")
    counted = count(cells_of(netlist["modules"][design.top]), target.family)
    packed_counts = None if known["packed"] is None else Packed(**known["packed"])
    return Synthesis(counted, known["mapped"], packed_counts, known["estimate"], known["seconds"],
                     known["yosys"]), netlist


def _estimate(stat: str) -> int | None:
    """Return the "Estimated number of LCs" of a statistics text."""
    found = [line for line in stat.splitlines() if "Estimated number of LCs" in line]
    return int(found[-1].split(":")[1]) if found else None


def _framed(design: Design, target: Target, yosys: Tool, netlist: Any,
            work: Path) -> tuple[Count, Any]:
    """Return the frame's cells, and the netlist of frame and design."""
    module = netlist["modules"][design.top]
    harness = make_harness(design.top, ports_of(module), clock=design.clock,
                           oscillator=target.family == "nexus")
    command = [*target.synthesis, "-top", harness.top]
    key = _key(harness.text, *command, yosys.version)
    kept = work / f"frame-{key}.json"
    frame = _load(kept)
    if frame is None:
        frame, _, _ = _yosys(harness.top, yosys, harness.text, [" ".join(command)], work)
        frame["modules"] = {harness.top: frame["modules"][harness.top]}
        write_text(kept, json.dumps(frame))
    own = cells_of(frame["modules"][harness.top])
    own.pop(design.top, None)
    inner = {**module, "attributes": {
        key: value for key, value in module["attributes"].items() if key != "top"
    }}
    counted = count(own, target.family)
    if counted.ff != harness.flip_flops:
        raise ToolError(
            f"the frame of {design.top} must have {harness.flip_flops} flip-flops; synthesis left "
            f"{counted.ff}"
        )
    return counted, {**frame, "modules": {**frame["modules"], design.top: inner}}


# ---- place and route ---------------------------------------------------------------------


def _place(design: Design, target: Target, options: Options, speed: str, nextpnr: Tool,
           netlist: Any, work: Path, parallel: int, say: Callable[[str], None],
           packed: Packed | None) -> list[Placement]:
    text = json.dumps(netlist)
    arguments = [option.replace("{speed}", speed) for option in target.options]
    arguments += ["--freq", f"{options.freq:g}", "--timing-allow-fail"]
    if design.lpf is not None:
        arguments.remove("--lpf-allow-unconstrained")
        arguments += ["--lpf", "pins.txt"]
    pins = design.lpf if design.lpf is not None else target.pin_file
    key = _key(text, *arguments, pins or "", nextpnr.version)
    records = {seed: work / f"seed-{seed}-{key}.json" for seed in options.seeds}
    found = {seed: _load(path) for seed, path in records.items()}
    if design.lpf is not None:
        found = {
            seed: known if _config_file(records[seed]).is_file() else None
            for seed, known in found.items()
        }
    missing = [seed for seed, known in found.items() if known is None]
    if missing:
        with scratch(work) as folder:
            (folder / "netlist.json").write_text(text, encoding="utf-8")
            if pins is not None:
                (folder / "pins.txt").write_text(pins, encoding="utf-8")
            jobs = {}
            for seed in missing:
                more = ["--json", "netlist.json", "--seed", str(seed),
                        "--report", f"report-{seed}.json"]
                if design.lpf is not None:
                    more += ["--textcfg", f"config-{seed}.txt"]
                jobs[Job(f"place and route, seed {seed}", (*nextpnr.command, *arguments, *more),
                         folder, folder / f"seed-{seed}.log")] = seed

            def done(job: Job, seconds: float) -> None:
                seed = jobs[job]
                report = _load(folder / f"report-{seed}.json")
                if report is None:
                    raise ToolError(f"{job.name} wrote no report")
                if design.lpf is not None:
                    keep(folder / f"config-{seed}.txt", _config_file(records[seed]))
                keep(job.log, records[seed].with_suffix(".log"))
                found[seed] = _slim(report) | {"seconds": seconds}
                write_text(records[seed], json.dumps(found[seed], indent=1) + "\n")

            def wait(running: list[Job]) -> None:
                left = sum(known is None for known in found.values())
                say(f"{len(found) - left} of {len(found)} seeds; "
                    + ", ".join(f"{job.name}: {_phase(job.log)}" for job in running))

            try:
                run(list(jobs), parallel=parallel, on_done=done, on_wait=wait)
            except ToolError as error:
                log = work / "nextpnr-failed.log"
                failed = next((job for job in jobs if str(error).startswith(job.name)), None)
                if failed is not None and failed.log.is_file():
                    keep(failed.log, log)
                raise ToolError(f"{error} (log: {log})") from None
    limit = 0.0
    if packed is not None and packed.registered_multipliers:
        limit = 1e3 / _MULTIPLIER_NS[speed]
    return [
        _placement(seed, found[seed], limit,
                   None if design.lpf is None else _config_file(records[seed]))
        for seed in options.seeds
    ]


def _config_file(record: Path) -> Path:
    return record.with_suffix(".config")


def _slim(report: dict[str, Any]) -> dict[str, Any]:
    """Keep of nextpnr's report what results need."""
    paths = [
        path for path in report["critical_paths"]
        if "<async>" not in (path["from"], path["to"]) and path["from"] == path["to"]
    ]
    steps = [
        Step(
            step["type"], round(step["delay"], 3),
            step["to"]["cell"] if step["type"] == "routing" else step["from"]["cell"],
            step.get("net"),
        )
        for step in (max(paths, key=_length)["path"] if paths else [])
    ]
    clocks = list(report["fmax"].values())
    if not clocks:
        raise ToolError("nextpnr found no clock in the design")
    tightest = min(clocks, key=lambda clock: clock["achieved"] / clock["constraint"])
    return {
        "fmax_mhz": tightest["achieved"],
        "aim_mhz": tightest["constraint"],
        "met": all(clock["achieved"] >= clock["constraint"] for clock in clocks),
        "used": {kind: entry["used"] for kind, entry in report["utilization"].items()
                 if entry["used"]},
        "available": {kind: entry["available"] for kind, entry in report["utilization"].items()
                      if entry["used"]},
        "critical_path": [asdict(step) for step in steps],
    }


def _length(path: dict[str, Any]) -> float:
    return sum(step["delay"] for step in path["path"])


def _placement(
    seed: int, known: dict[str, Any], limit: float, config: Path | None
) -> Placement:
    steps = [Step(**step) for step in known["critical_path"]]
    fmax, limited_by = known["fmax_mhz"], "path"
    if limit and fmax > limit:
        fmax, limited_by = limit, "multiplier"
    return Placement(
        seed=seed, fmax_mhz=round(fmax, 2), limited_by=limited_by, used=known["used"],
        critical_path=steps,
        through_design=config is not None
        or any(step.cell.startswith(INSTANCE) for step in steps),
        seconds=round(known["seconds"], 1),
        met=known["met"] and fmax >= known["aim_mhz"],
        config=None if config is None else str(config),
    )


_PHASES = (
    ("Routing globals", "placing"), ("Creating initial", "placing"), ("Running main", "placing"),
    ("at initial placer", "placing"), ("Setting up routing", "routing"), ("Routing..", "routing"),
    ("Critical path report", "timing"),
)


def _phase(log: Path) -> str:
    """Return what nextpnr is at, by the end of its log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20000))
            text = file.read().decode(errors="replace")
    except OSError:
        return "starting"
    at = [(text.rfind(mark), phase) for mark, phase in _PHASES]
    return max(at)[1] if max(at)[0] >= 0 else ("packing" if text else "starting")
