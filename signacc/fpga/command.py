# amaranth: UnusedElaboratable=no
"""``signacc pnr`` and ``signacc bitstream``, and the files that ``signacc verilog`` adds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from golden.errors import InputError
from golden.files import made_folder
from hw.config import EngineConfig
from signacc.console import progress
from signacc.files import check_output_file, check_output_folder, write_texts

from .flow import Options, implement
from .parts import check_part, part_design
from .report import figures, print_result
from .targets import named_target

if TYPE_CHECKING:
    from hw.verilog import GeneratedVerilog


def work_folder(top: str, target: str) -> Path:
    """Return where results are kept if nobody says where: in the cache."""
    from signacc.cosim.build import cache_root

    return cache_root() / "pnr" / f"{top}-{target}"


def run_command(
    config: EngineConfig,
    *,
    target: str,
    part: str,
    speed: str | None,
    seeds: int,
    freq: float | None,
    jobs: int,
    synthesis_only: bool,
    no_rw_check: bool,
    no_rewrites: bool,
    out: str | None,
    as_json: bool,
) -> None:
    """Implement a part of a configuration and print what was measured.

    Raises
    ------
    InputError
        If target, speed grade or part is unknown, or the design does not fit.
    ToolError
        If a tool is missing or fails.
    """
    chosen = named_target(target)
    chosen.speed(speed)
    check_part(part)
    folder = None if out is None else Path(out)
    if folder is not None:
        check_output_folder(folder)
    options = Options(
        speed=speed,
        freq=config.clock_mhz if freq is None else freq,
        seeds=tuple(range(1, seeds + 1)),
        no_rw_check=no_rw_check,
        pack=not no_rewrites,
    )
    with progress(f"generating {config.name}, {part}") as step:
        design, lanes = part_design(config, part)
        work = work_folder(design.top, target) if folder is None else folder
        with made_folder(work):
            result = implement(
                design, chosen, options, work, place=not synthesis_only, parallel=jobs,
                say=lambda text: step.say(f"{design.top} on {target}: {text}"),
            )
    report: dict[str, Any] = {
        "design": {"config": config.to_dict(), "part": part, "top": design.top, "lanes": lanes},
        "options": {
            "freq_mhz": options.freq, "seeds": list(options.seeds),
            "no_rw_check": options.no_rw_check, "rewrites": options.pack,
        },
        **result.to_json(),
        "derived": figures(result, lanes),
    }
    text = json.dumps(report, indent=1) + "\n"
    write_texts({work / f"{design.top}.v": design.verilog, work / f"{design.top}.json": text})
    if as_json:
        click.echo(json.dumps(report))
        return
    print_result(f"{part} of {config.name}" if part != "engine" else config.name, result, lanes,
                 options.freq)
    click.echo(f"  report: {work / design.top}.json")


def run_bitstream(
    config: EngineConfig,
    *,
    board: str,
    clock: float,
    baud: int,
    seeds: int,
    jobs: int,
    output: str,
    as_json: bool,
) -> None:
    """Make the bitstream of a board: an engine on its serial line.

    Raises
    ------
    InputError
        If the board is unknown, the output no .bit file, the design does not fit, or no seed
        reaches the clock.
    ToolError
        If a tool is missing or fails.
    """
    from hw.boards import ulx3s
    from hw.verilog import convert

    from .bitstream import make_bitstream
    from .flow import Design

    if board != "ulx3s":
        raise InputError(f"a board is one of ulx3s, not {board!r}")
    path = Path(output)
    if path.suffix != ".bit" or not path.parent.is_dir():
        raise InputError(
            f"the bitstream must be a .bit file in a folder that exists, not {output!r}"
        )
    check_output_file(path, "bitstream")
    with progress(f"generating {config.name} for {board}") as step:
        module = ulx3s.Ulx3s(config, clock_mhz=clock, baud=baud)
        top = f"signacc_{config.name}_{board}"
        design = Design(verilog=convert(module, top), top=top, clock="clk_25mhz", lpf=ulx3s.lpf())
        options = Options(freq=module.pll.output_mhz, seeds=tuple(range(1, seeds + 1)))
        result = make_bitstream(
            design, named_target(ulx3s.TARGET), options, work_folder(top, ulx3s.TARGET), path,
            parallel=jobs, say=lambda text: step.say(f"{top}: {text}"),
        )
    if as_json:
        click.echo(json.dumps({
            "bitstream": output, "board": board, "clock_mhz": module.pll.output_mhz, "baud": baud,
            "config": config.to_dict(), **result.to_json(),
        }))
        return
    print_result(f"{config.name} for {board}", result, config.lanes, options.freq)
    click.echo(f"{output}: engine at {module.pll.output_mhz:g} MHz, serial line at {baud:,} baud")


def flow_files(
    verilog: Path, generated: GeneratedVerilog, config: EngineConfig, *, core: bool,
    vivado_part: str | None,
) -> dict[Path, str]:
    """Return the files for other tools that go beside `verilog`, by path.

    Raises
    ------
    InputError
        If `vivado_part` is no part name, or the Verilog file's name, which the files hold, no text.
    """
    from importlib import metadata

    from .core_file import core_files
    from .steps import replaced_modules
    from .targets import TARGETS
    from .vivado import vivado_script

    files: dict[Path, str] = {}
    if not core and vivado_part is None:
        return files
    try:
        verilog.name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"a Verilog file that --core or --vivado-part names must have a UTF-8 name, not "
            f"{verilog.name!r}"
        ) from None
    if core:
        texts = core_files(
            top=generated.top, verilog=verilog.name, version=metadata.version("signacc"),
            targets=list(TARGETS.values()), modules=replaced_modules(config),
        )
        files |= {verilog.with_name(name): text for name, text in texts.items()}
    if vivado_part is not None:
        names = {port["name"] for port in generated.sidecar["ports"]}  # type: ignore[attr-defined]
        files[verilog.with_suffix(".tcl")] = vivado_script(
            top=generated.top, verilog=verilog.name, part=vivado_part, clock_mhz=config.clock_mhz,
            clock="aclk" if "aclk" in names else "clk",
        )
    return files


_FREQ = re.compile(r"\d+(\.\d+)?")


def frequency(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> float | None:
    """Read the option --freq: MHz above 0, as nextpnr takes them."""
    if value is None:
        return None
    if not _FREQ.fullmatch(value) or not 0 < float(value) <= 2000:
        raise click.BadParameter(f"must be MHz above 0 and at most 2000, not {value!r}")
    return float(value)
