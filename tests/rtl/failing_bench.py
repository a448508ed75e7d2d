"""Benches that must not pass: one fails, one module has no test of the name asked for."""

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def fails(dut) -> None:
    await Timer(1, unit="ns")
    assert dut.busy.value == 7


@cocotb.test()
async def passes(dut) -> None:
    await Timer(1, unit="ns")
