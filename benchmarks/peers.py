"""Cycles of one linear by SCALE-Sim, ZigZag and signacc in one run: what each takes.

    pip install --target PEERS/scalesim "scalesim==3.0.0" "numpy<2.3" "pandas<3"
    pip install --target PEERS/zigzag "zigzag-dse==3.9.1" six
    python benchmarks/peers.py --peers PEERS --out benchmarks/results/peers.json

A linear of K inputs and N outputs, one token vector, on 32 x 32 lanes. Each tool runs as a process
of its own, and times its own work without imports; processor time is user and system.
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
from record import write_record

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


@click.command()
@click.option("--peers", required=True, type=click.Path(exists=True, file_okay=False,
                                                        path_type=Path))
@click.option("--shape", default="4096x4096", show_default=True, help="KxN.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def main(peers: Path, shape: str, out: Path) -> None:
    k, n = (int(part) for part in shape.split("x"))
    tools = {
        "signacc": (SIGNACC, ROOT),
        "zigzag-dse 3.9.1": (ZIGZAG, peers / "zigzag"),
        "scalesim 3.0.0": (SCALE_SIM, peers / "scalesim"),
    }
    result: dict[str, object] = {"shape_k_n": [k, n], "token_vectors": 1}
    for name, (script, path) in tools.items():
        result[name] = run(script, path, k, n)
        print(name, json.dumps(result[name]), flush=True)
    own = result["signacc"]["processor_s"]
    result["processor_time_over_signacc"] = {
        name: result[name]["processor_s"] / own for name in tools if name != "signacc"
    }
    write_record(out, result, ("signacc", "numpy"))
    print(json.dumps(result["processor_time_over_signacc"]))


if __name__ == "__main__":
    main()
