"""The cocotb bench of netlists: sets every input, cycle by cycle, and keeps every output.

It reads SIGNACC_REPLAY, JSON: `cycles`; `inputs`, integers by port; `outputs`, names of ports. It
writes SIGNACC_REPLAY_RESULTS, integers by output: what flops sample at the end of each cycle.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge


@cocotb.test()
async def replay(dut) -> None:
    """Replay the file, after a cycle of reset."""
    given = json.loads(Path(os.environ["SIGNACC_REPLAY"]).read_text(encoding="utf-8"))
    inputs = [(getattr(dut, port), values) for port, values in given["inputs"].items()]
    outputs = {port: (getattr(dut, port), []) for port in given["outputs"]}
    for port, _ in inputs:
        port.value = 0
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    for cycle in range(given["cycles"]):
        for port, values in inputs:
            port.value = values[cycle]
        await RisingEdge(dut.clk)
        for port, seen in outputs.values():
            seen.append(int(port.value))
    Path(os.environ["SIGNACC_REPLAY_RESULTS"]).write_text(
        json.dumps({name: seen for name, (_, seen) in outputs.items()}), encoding="utf-8"
    )
