"""What mappers for Lattice devices leave undone, on the netlist between Yosys and nextpnr.

Five local rewrites for ECP5, each of which keeps the function of every net that remains:

carry ends
    A chain's last carry output goes to a net that nobody reads; nextpnr would spend a cell (2
    LUTs) on leading it out.
carry starts
    A chain starts with a constant at its carry input; nextpnr would spend a cell (2 LUTs) on
    leading it in. Where the first position's carry depends on two nets at most, that position can
    do without a carry input; its sum, if anybody reads it, takes a LUT of its own.
carry operands
    A position's LUT has four inputs, the mapper uses two. A small LUT in front of an operand, such
    as the choice between adding and subtracting, goes into it.
RAM output registers
    A register that directly follows a block RAM goes into it (REGMODE "OUTREG").
multiplier registers
    Registers directly in front of and behind a MULT18X18D go into it.

and one for Nexus, without which nextpnr refuses the netlist (Yosys issue 4081):

carry inputs
    The cell that leads a fabric net into a chain does not depend on its own carry input; ABC9 ties
    that to a constant, and nextpnr wants it unconnected.

The models are those of Yosys (`lattice/ccu2c_sim.vh`, `cells_sim_ecp5.v`) and Lattice FPGA-TN-02204
(memory), FPGA-TN-02205 (sysDSP).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

Netlist = dict[str, Any]
_CONSTANTS = ("0", "1", "x", "z")


@dataclass(frozen=True)
class Packed:
    """How often each rewrite was done.

    Attributes
    ----------
    carry_ends, carry_starts
        Carry chains whose end, or start, needs no cell of its own any more.
    carry_operands
        Operands of carry positions that take in the LUT in front of them.
    ram_registers
        Flip-flops that went into block RAMs.
    multiplier_registers
        Flip-flop bits that went into multipliers.
    registered_multipliers
        Multipliers with registers on both sides: nextpnr times no path inside those.
    """

    carry_ends: int
    carry_starts: int
    carry_operands: int
    ram_registers: int
    multiplier_registers: int
    registered_multipliers: int


class _Nets:
    """Who drives and who reads each net of a flat module."""

    def __init__(self, module: Netlist):
        self.module = module
        self.readers: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
        self.driver: dict[int, tuple[str, str, int]] = {}
        self.outside: set[int] = set()
        for name, cell in module["cells"].items():
            for port, bits in cell["connections"].items():
                driven = cell["port_directions"][port] == "output"
                for index, bit in enumerate(bits):
                    if bit in _CONSTANTS:
                        continue
                    if driven:
                        self.driver[bit] = (name, port, index)
                    else:
                        self.readers[bit].append((name, port, index))
        for port in module["ports"].values():
            if port["direction"] != "input":
                self.outside.update(bit for bit in port["bits"] if bit not in _CONSTANTS)

    def read(self, bit: int | str) -> bool:
        """Return whether anything reads the net."""
        return bit not in _CONSTANTS and (bool(self.readers[bit]) or bit in self.outside)

    def connect(self, name: str, port: str, bit: int | str, direction: str = "input") -> None:
        """Connect a cell's one-bit port to another net."""
        cell = self.module["cells"][name]
        before = _bit(cell, port)
        end = (name, port, 0)
        if before not in _CONSTANTS:
            if cell["port_directions"][port] == "output":
                del self.driver[before]
            else:
                self.readers[before].remove(end)
        cell["connections"][port] = [bit]
        cell["port_directions"][port] = direction
        if bit not in _CONSTANTS:
            if direction == "output":
                self.driver[bit] = end
            else:
                self.readers[bit].append(end)

    def remove(self, name: str) -> None:
        """Remove a cell of one-bit ports."""
        for port in list(self.module["cells"][name]["connections"]):
            direction = self.module["cells"][name]["port_directions"][port]
            self.connect(name, port, "x", direction)
        del self.module["cells"][name]


def pack_ecp5(module: Netlist) -> Packed:
    """Do all rewrites on a flat module of a Yosys JSON netlist, in place."""
    nets = _Nets(module)
    ends = _carry_ends(nets)
    starts = _carry_starts(nets)
    operands = _carry_operands(nets)
    ram = _ram_registers(nets)
    multiplier, both = _multiplier_registers(nets)
    return Packed(ends, starts, operands, ram, multiplier, both)


def pack_nexus(module: Netlist) -> int:
    """Unconnect the carry inputs that do not matter, in place; return how many."""
    nets = _Nets(module)
    done = 0
    for name, cell in _cells(nets, "CCU2"):
        driver = nets.driver.get(_bit(cell, "CIN"))
        if driver is None or module["cells"][driver[0]]["type"] not in ("VLO", "VHI"):
            continue
        # INIT1 of 0x00AA with D1 = 1: the second LUT4 is 0, so the carry is its LUT3, without CIN.
        one = nets.driver.get(_bit(cell, "D1"))
        high = _bit(cell, "D1") == "1" or (
            one is not None and module["cells"][one[0]]["type"] == "VHI"
        )
        leads_in = str(cell["parameters"]["INIT1"]).strip() == "0x00AA" and high
        if leads_in and not nets.read(_bit(cell, "S0")) and not nets.read(_bit(cell, "S1")):
            nets.connect(name, "CIN", "x")
            done += 1
    return done


def _bit(cell: Netlist, port: str) -> int | str:
    bits = cell["connections"].get(port)
    return bits[0] if bits else "x"


def _cells(nets: _Nets, *kinds: str) -> list[tuple[str, Netlist]]:
    return [(name, cell) for name, cell in nets.module["cells"].items() if cell["type"] in kinds]


# ---- carry chains ------------------------------------------------------------------------


def _carry_ends(nets: _Nets) -> int:
    done = 0
    for name, cell in _cells(nets, "CCU2C"):
        end = _bit(cell, "COUT")
        if end not in _CONSTANTS and not nets.read(end):
            nets.connect(name, "COUT", "x", "output")
            done += 1
    return done


def _carry_starts(nets: _Nets) -> int:
    done = 0
    for name, cell in _cells(nets, "CCU2C"):
        if _bit(cell, "CIN") not in ("0", "1"):
            continue
        found = _as_generate(cell)
        if found is None:
            continue
        init, first, second = found
        if nets.read(_bit(cell, "S0")):
            _sum_apart(nets, name, cell)
        cell["parameters"] |= {"INIT0": f"{init:016b}", "INJECT1_0": "NO"}
        for port, bit in (("A0", first), ("B0", second), ("C0", "1"), ("D0", "1"), ("CIN", "x")):
            nets.connect(name, port, bit)
        done += 1
    return done


def _sum_apart(nets: _Nets, name: str, cell: Netlist) -> None:
    """Give the first position's sum to a LUT of its own: LUT4, inverted if a 1 is carried in."""
    init = int(cell["parameters"]["INIT0"], 2)
    if cell["parameters"]["INJECT1_0"].strip() != "YES" and _bit(cell, "CIN") == "1":
        init ^= 0xFFFF
    lut = f"{name}$first"
    nets.module["cells"][lut] = {
        "hide_name": 0, "type": "LUT4", "parameters": {"INIT": f"{init:016b}"}, "attributes": {},
        "port_directions": {}, "connections": {},
    }
    sum_net = _bit(cell, "S0")
    nets.connect(name, "S0", "x", "output")
    nets.connect(lut, "Z", sum_net, "output")
    for port in "ABCD":
        nets.connect(lut, port, _bit(cell, f"{port}0"))


def _as_generate(cell: Netlist) -> tuple[int, int | str, int | str] | None:
    """Return INIT0, A0 and B0 that give the first position's carry without a carry input.

    The position's carry is ``LUT4 ? CIN : LUT2`` (LUT2 only without injection). With C0 = D0 = 1
    and the upper 12 bits of INIT0 zero, LUT4 is 0 and the carry is LUT2, a function of A0 and B0.
    """
    text = cell["parameters"]["INIT0"]
    if set(text) - {"0", "1"}:
        return None
    init = int(text, 2)
    inject = cell["parameters"]["INJECT1_0"].strip() == "YES"
    carry_in = int(_bit(cell, "CIN"))
    inputs = [_bit(cell, port) for port in ("A0", "B0", "C0", "D0")]
    if any(bit in ("x", "z") for bit in inputs):
        return None
    nets = list(dict.fromkeys(bit for bit in inputs if bit not in _CONSTANTS))

    def carry(values: dict[int | str, int]) -> int:
        a, b, c, d = (values[bit] if bit in values else int(bit) for bit in inputs)
        if init >> (a | b << 1 | c << 2 | d << 3) & 1:
            return carry_in
        return 0 if inject else init >> (a | b << 1) & 1

    def table(names: list[int | str]) -> list[int]:
        return [
            carry({name: row >> i & 1 for i, name in enumerate(names)})
            for row in range(1 << len(names))
        ]

    whole = table(nets)
    needed = [
        net for i, net in enumerate(nets)
        if any(whole[row] != whole[row ^ 1 << i] for row in range(len(whole)))
    ]
    if len(needed) > 2:
        return None
    others = {net: 0 for net in nets if net not in needed}
    first: int | str = needed[0] if needed else "0"
    second: int | str = needed[1] if len(needed) > 1 else "0"
    result = 0
    for row in range(4):
        values = others | {name: row >> i & 1 for i, name in enumerate(needed)}
        result |= carry(values) << row
    return result, first, second


def _carry_operands(nets: _Nets) -> int:
    done = 0
    for name, cell in _cells(nets, "CCU2C"):
        for half in "01":
            for operands in ("AB", "BA"):
                if _carry_operand(nets, name, cell, half, *operands):
                    done += 1
                    break
    return done


def _carry_operand(
    nets: _Nets, name: str, cell: Netlist, half: str, direct: str, taken: str
) -> bool:
    """Take the LUT that drives operand `taken` of a position into the position, as its B."""
    text = cell["parameters"][f"INIT{half}"]
    if cell["parameters"][f"INJECT1_{half}"].strip() == "YES" or set(text) - {"0", "1"}:
        return False
    init = int(text, 2)
    if taken == "A":  # the same position with its operands exchanged
        init = sum((init >> (row & 12 | (row & 1) << 1 | row >> 1 & 1) & 1) << row
                   for row in range(16))
    a, b, c, d = (_bit(cell, f"{port}{half}") for port in (direct, taken, "C", "D"))
    driver = nets.driver.get(b, ("", "", 0))[0]
    lut = nets.module["cells"].get(driver)
    if a == b or c not in ("0", "1") or d not in ("0", "1") or lut is None:
        return False
    if lut["type"] != "LUT4" or set(lut["parameters"]["INIT"]) - {"0", "1"}:
        return False
    table = int(lut["parameters"]["INIT"], 2)
    inputs = [_bit(lut, port) for port in "ABCD"]
    operands = list(dict.fromkeys(bit for bit in inputs if bit not in _CONSTANTS))
    if any(bit in ("x", "z") for bit in inputs) or not 1 <= len(operands) <= 3 or a in operands:
        return False

    def value(row: dict[int | str, int]) -> int:
        """Operand B of the position as it is, for values of the LUT's nets."""
        bits = [row[bit] if bit in row else int(bit) for bit in inputs]
        return table >> sum(bit << i for i, bit in enumerate(bits)) & 1

    for order in permutations(operands):
        # Inputs that are left over are 1, so that fewer rows serve as the position's LUT2, too.
        places = [*order, "1", "1"][:3]
        found = _merged(init, int(c), int(d), places, value)
        if found is None:
            continue
        cell["parameters"][f"INIT{half}"] = f"{found:016b}"
        for port, bit in zip("ABCD", (a, *places), strict=True):
            nets.connect(name, f"{port}{half}", bit)
        if not nets.read(_bit(lut, "Z")):
            nets.remove(driver)
        return True
    return False


def _merged(
    init: int, c: int, d: int, places: list[int | str], value: Callable[[dict], int]
) -> int | None:
    """Return INIT of a position whose B, C and D are `places`, or None if there is none.

    LUT4 decides whether the carry passes; where it does not, LUT2, the lowest four bits of the same
    INIT looked up by A and B, is the carry.
    """
    result = 0
    generates: dict[int, int] = {}
    for row in range(16):
        bits = {place: row >> i & 1 for i, place in enumerate(places, start=1)}
        if any(place == "1" and not row >> i & 1 for i, place in enumerate(places, start=1)):
            continue  # never looked up by LUT4
        old = row & 1 | value(bits) << 1
        passes = init >> (old | c << 2 | d << 3) & 1
        result |= passes << row
        if not passes and generates.setdefault(row & 3, init >> old & 1) != init >> old & 1:
            return None
    free = "1" in places[1:]  # rows with C = D = 0 serve as LUT2 alone
    for low, carry in generates.items():
        if free:
            result |= carry << low
        elif result >> low & 1 != carry:
            return None
    return result


# ---- registers ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Register:
    """A flip-flop that a hard block can take in: rising edge, no reset, starts at 0."""

    name: str
    clock: int | str
    enable: int | str
    data: int | str
    output: int | str


def _register(name: str, cell: Netlist) -> _Register | None:
    """Return the cell as a plain register, or None if it is no such thing."""
    if cell["type"] != "TRELLIS_FF":
        return None
    parameter = {key: str(value).strip() for key, value in cell["parameters"].items()}
    if parameter.get("CLKMUX", "CLK") != "CLK" or parameter.get("REGSET", "RESET") != "RESET":
        return None
    if _bit(cell, "LSR") not in ("0", "x"):
        return None
    mux = parameter.get("CEMUX", "1")
    enable = "1" if mux == "1" else _bit(cell, "CE")
    if mux not in ("1", "CE") or enable in ("0", "x", "z"):
        return None
    return _Register(name, _bit(cell, "CLK"), enable, _bit(cell, "DI"), _bit(cell, "Q"))


def _followers(nets: _Nets, bits: list[int | str]) -> list[_Register] | None:
    """Return the registers that alone read `bits`, one each; None if any bit has other readers."""
    found = []
    for bit in bits:
        if bit in nets.outside or len(nets.readers[bit]) != 1:
            return None
        name, port, _ = nets.readers[bit][0]
        register = _register(name, nets.module["cells"][name])
        if register is None or port != "DI":
            return None
        found.append(register)
    if len({(entry.clock, entry.enable) for entry in found}) != 1:
        return None
    return found


def _take_outputs(nets: _Nets, name: str, ports: list[str], registers: list[_Register]) -> None:
    """Let a cell's `ports` drive what the registers drove, and drop the registers."""
    for port, register in zip(ports, registers, strict=True):
        nets.remove(register.name)
        nets.connect(name, port, register.output, "output")


def _ram_registers(nets: _Nets) -> int:
    done = 0
    for name, cell in _cells(nets, "DP16KD"):
        if _number(cell["parameters"].get("DATA_WIDTH_A")) == 36:
            # Pseudo dual port: port A writes, both data ports carry what port B reads.
            done += _ram_port(nets, name, "B", sides="AB")
        else:
            done += _ram_port(nets, name, "A", sides="A") + _ram_port(nets, name, "B", sides="B")
    return done


def _number(value: object) -> int:
    """Return the value of a parameter, which Yosys writes as 32 binary digits."""
    return int(str(value), 2) if value is not None else 0


def _ram_port(nets: _Nets, name: str, port: str, *, sides: str) -> int:
    """Take in the registers behind the data outputs of `sides`, which `port` clocks."""
    cell = nets.module["cells"][name]
    parameters = {key: str(value).strip() for key, value in cell["parameters"].items()}
    if any(parameters.get(f"REGMODE_{side}", "NOREG") != "NOREG" for side in sides):
        return 0
    if parameters.get(f"CLK{port}MUX", f"CLK{port}") != f"CLK{port}":
        return 0
    if _bit(cell, f"RST{port}") not in ("0", "x") or _bit(cell, f"CE{port}") != "1":
        return 0
    every = [f"DO{side}{i}" for side in sides for i in range(18)]
    data = [output for output in every if nets.read(_bit(cell, output))]
    registers = _followers(nets, [_bit(cell, output) for output in data]) if data else None
    if registers is None or registers[0].clock != _bit(cell, f"CLK{port}"):
        return 0
    for side in sides:
        cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
        nets.connect(name, f"OCE{side}", registers[0].enable)
    _take_outputs(nets, name, data, registers)
    return len(registers)


def _multiplier_registers(nets: _Nets) -> tuple[int, int]:
    bits = both = 0
    for name, _ in _cells(nets, "MULT18X18D"):
        before = [_operand(nets, name, side) for side in "AB"]
        after = _product(nets, name)
        bits += sum(before) + after
        both += bool(after and all(before))
    if bits:
        _drop_unread(nets)
    return bits, both


def _clocked(nets: _Nets, name: str, register: _Register, parameter: str) -> bool:
    """Give the block's stage `parameter` the register's clock and enable; False if it cannot."""
    cell = nets.module["cells"][name]
    if _bit(cell, "CLK0") not in ("x", "0", register.clock):
        return False
    for number in range(4):  # the block has four enables; one of them may be this one already
        if _bit(cell, f"CE{number}") in ("x", register.enable):
            break
    else:
        return False
    nets.connect(name, "CLK0", register.clock)
    nets.connect(name, f"CE{number}", register.enable)
    nets.connect(name, "RST0", "0")
    cell["parameters"] |= {
        f"{parameter}_CLK": "CLK0", f"{parameter}_CE": f"CE{number}", f"{parameter}_RST": "RST0",
    }
    return True


def _operand(nets: _Nets, name: str, side: str) -> int:
    """Take in the registers that drive an operand; other readers keep theirs."""
    cell = nets.module["cells"][name]
    found: dict[str, _Register] = {}
    for port in (f"{side}{i}" for i in range(18)):
        bit = _bit(cell, port)
        if bit == "0":
            continue
        driver, driven, _ = nets.driver.get(bit, ("", "", 0))
        register = _register(driver, nets.module["cells"][driver]) if driven == "Q" else None
        if register is None:
            return 0
        found[port] = register
    if len({(entry.clock, entry.enable) for entry in found.values()}) != 1:
        return 0
    if not _clocked(nets, name, next(iter(found.values())), f"REG_INPUT{side}"):
        return 0
    for port, register in found.items():
        nets.connect(name, port, register.data)
    return len(found)


def _product(nets: _Nets, name: str) -> int:
    cell = nets.module["cells"][name]
    ports = [port for port in (f"P{i}" for i in range(36)) if nets.read(_bit(cell, port))]
    registers = _followers(nets, [_bit(cell, port) for port in ports]) if ports else None
    if registers is None or not _clocked(nets, name, registers[0], "REG_OUTPUT"):
        return 0
    _take_outputs(nets, name, ports, registers)
    return len(registers)


def _drop_unread(nets: _Nets) -> None:
    """Remove plain registers whose output nobody reads any more."""
    while unread := [
        name for name, cell in _cells(nets, "TRELLIS_FF")
        if (entry := _register(name, cell)) is not None and not nets.read(entry.output)
    ]:
        for name in unread:
            nets.remove(name)
