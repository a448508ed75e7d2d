"""Cycles of a decoder layer's linears by SCALE-Sim, ZigZag and signacc in one run: what each takes.

    pip install --target PEERS/scalesim "scalesim==3.0.0" "numpy<2.3" "pandas<3"
    pip install --target PEERS/zigzag "zigzag-dse==3.9.1" six
    python benchmarks/peers.py --peers PEERS --out benchmarks/results/peers.json

Each linear of K inputs and N outputs, one token vector, on 32 x 32 lanes. Each tool runs each
linear as a process of its own (SCALE-Sim keeps what it made of earlier layers in memory), and times
its own work without imports; processor time is user and system.
SCALE-Sim: output-stationary, 8-bit words. ZigZag: its TPU-like accelerator, 1-bit weights. signacc:
preset kv260. The machines differ, so cycles are not to be compared; run times are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import click
from program import OutputFile, Program
from record import write_record

from golden.config import FBI_LINEARS, named_model
from golden.errors import InputError

SCALE_SIM_CONFIG = """
[general]
run_name = run
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = 32
ArrayWidth = 32
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = os
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""

SCALE_SIM = """
    import sys
    from pathlib import Path
    k, n = int(sys.argv[1]), int(sys.argv[2])
    Path("layers.csv").write_text(f"Layer,M,N,K,\\nlinear,1,{n},{k},\\n")
    Path("layout.csv").write_text("Layer," + "x," * 20 + "\\nlinear," + "1," * 20 + "\\n")
    from scalesim.scale_sim import scalesim
    from peer_clock import report, start
    start()
    run = scalesim(save_disk_space=True, verbose=False, config="scale.cfg", topology="layers.csv",
                   layout="layout.csv", input_type_gemm=True)
    run.run_scale(top_path="out")
    report(int(run.runner.single_layer_sim_object_list[0].get_compute_report_items()[0]))
"""

ZIGZAG = """
    import logging, sys
    from pathlib import Path
    import zigzag
    from zigzag.api import get_hardware_performance_zigzag
    from peer_clock import report, start
    k, n = int(sys.argv[1]), int(sys.argv[2])
    inputs = Path(zigzag.__file__).parent / "inputs"
    workload = [dict(
        id=0, name="linear", operator_type="Gemm", equation="O[b][k]+=I[b][c]*W[c][k]",
        dimension_relations=[], loop_dims=["B", "C", "K"], loop_sizes=[1, k, n],
        operand_precision=dict(W=1, I=8, O=16, O_final=8), operand_source=dict(I=0, W=0),
    )]
    logging.disable(logging.CRITICAL)
    start()
    _, cycles, _ = get_hardware_performance_zigzag(
        workload, str(inputs / "hardware/tpu_like.yaml"), str(inputs / "mapping/tpu_like.yaml"),
        dump_folder="out", loma_show_progress_bar=False,
    )
    report(int(cycles))
"""

SIGNACC = """
    import sys
    from hw.config import named_preset
    from sim.engine import vector_cycles
    from peer_clock import report, start
    start()
    report(vector_cycles(named_preset("kv260"), [(int(sys.argv[1]), int(sys.argv[2]))]))
"""

CLOCK = """
    import json, time
    def start():
        global wall, cpu
        wall, cpu = time.perf_counter(), time.process_time()
    def report(cycles):
        with open("peer.json", "w") as file:
            json.dump(dict(cycles=cycles, wall_s=time.perf_counter() - wall,
                           processor_s=time.process_time() - cpu), file)
"""

ROOT = Path(__file__).parents[1]


def run(script: str, path: Path, k: int, n: int) -> dict[str, object]:
    """Run `script` with packages of `path`; return its own clock and its process's memory."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "peer_clock.py").write_text(textwrap.dedent(CLOCK))
        Path(folder, "scale.cfg").write_text(SCALE_SIM_CONFIG)
        Path(folder, "peer.py").write_text(textwrap.dedent(script))
        environment = os.environ | {
            "PYTHONPATH": f"{folder}:{path}", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"
        }
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "peer.py", str(k), str(n)], cwd=folder, env=environment,
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise click.ClickException(f"the tool in {path} ended with status {status}")
        found = json.loads(Path(folder, "peer.json").read_text())
    return {
        **found,
        "process_wall_s": time.perf_counter() - started,
        "process_processor_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_mb": usage.ru_maxrss / 1024,
    }


TOOLS = {
    "signacc": (SIGNACC, "."),
    "zigzag-dse 3.9.1": (ZIGZAG, "zigzag"),
    "scalesim 3.0.0": (SCALE_SIM, "scalesim"),
}
TIMES = ("wall_s", "processor_s", "process_wall_s", "process_processor_s")


def total(runs: dict[str, dict[str, object]]) -> dict[str, object]:
    """Sum cycles and times over the linears; the largest process's memory."""
    sums = {key: sum(run[key] for run in runs.values()) for key in ("cycles", *TIMES)}
    return {**sums, "peak_memory_mb": max(run["peak_memory_mb"] for run in runs.values())}


@click.command(cls=Program)
@click.option("--peers", required=True, type=click.Path(exists=True, file_okay=False,
                                                        path_type=Path))
@click.option("--model", default="fbi-7b", show_default=True)
@click.option("--linears", help="Names of the layer's linears, comma between; else all seven.")
@click.option("--out", required=True, type=OutputFile())
def main(peers: Path, model: str, linears: str | None, out: Path) -> None:
    for _, folder in TOOLS.values():
        if folder != "." and not (peers / folder / folder).is_dir():
            raise InputError(f"{peers} must hold {folder}/{folder}, as pip makes it; it does not")
    config = named_model(model)
    wanted = linears.split(",") if linears else FBI_LINEARS
    runs: dict[str, dict[str, dict[str, object]]] = {name: {} for name in TOOLS}
    for linear in wanted:
        n, k = config.linear_shape(linear)
        for name, (script, folder) in TOOLS.items():
            path = ROOT if folder == "." else peers / folder
            runs[name][linear] = {"k": k, "n": n, **run(script, path, k, n)}
            print(name, linear, json.dumps(runs[name][linear]), flush=True)
    totals = {name: total(found) for name, found in runs.items()}
    own = totals["signacc"]["processor_s"]
    ratios = {name: totals[name]["processor_s"] / own for name in TOOLS if name != "signacc"}
    result = {
        "model": model, "token_vectors": 1, **totals, "processor_time_over_signacc": ratios,
        "linears": runs,
    }
    write_record(out, result, ("signacc", "numpy"))
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
