"""The register file in hardware, made from the description in :mod:`hw.axi.registers`."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind, tree
from ..config import EngineConfig
from .config import AxiConfig
from .fields import DATA_BITS, Access, Field, Register
from .lite import access_ports
from .registers import registers_of

_WRITABLE = (Access.CONTROL, Access.EVENT, Access.COMMAND)


def port_name(register: Register, field: Field) -> str:
    """Return the name of a field's port: of the register alone, if that is all it has."""
    name = register.name.lower()
    return name if field.name == "value" else f"{name}_{field.name}"


def _at(word: Value, offset: int) -> Value:
    """Return whether `word` is the one at `offset`; 0 as a reduction, which Verilog linters ask."""
    return word == offset >> 2 if offset else ~word.any()


class RegisterFile(wiring.Component):
    """Decodes the words of the map and holds what software writes.

    A write to a word that has no writable field, and any access to a word that the core does not
    have, is answered with an error and does nothing else. Reading the low word of a counter keeps
    its high word in one register that all high words share, so that low, then high is one value.

    Parameters
    ----------
    config : EngineConfig
    axi : AxiConfig

    Members
    -------
    slave : the access side of :class:`hw.axi.lite.LiteSlave`
    For each field, named as :func:`port_name` says:
        STATUS, COUNTER: In, the value. CONTROL: Out, the value. COMMAND: Out, a pulse.
        EVENT: ``<name>_set`` In, a pulse, and ``<name>`` Out, the value; a set in the cycle of a
        clear wins.
    """

    def __init__(self, config: EngineConfig, axi: AxiConfig):
        self.config, self.axi = config, axi
        self._registers = registers_of(config, axi)
        ports = {}
        for register in self._registers:
            for field in register.fields:
                name = port_name(register, field)
                if field.access in (Access.STATUS, Access.COUNTER):
                    ports[name] = In(field.width)
                elif field.access is Access.EVENT:
                    ports[f"{name}_set"] = In(field.width)
                    ports[name] = Out(field.width)
                elif field.access is Access.CONTROL:
                    ports[name] = Out(field.width, init=field.reset)
                elif field.access is Access.COMMAND:
                    ports[name] = Out(field.width)
        access = {name: member.flip() for name, member in access_ports().items()}
        super().__init__(ports | access)

    def elaborate(self, platform):
        """Build the fields and the two decoders."""
        m = Module()
        strobe = bind(m, Cat(*(bit.replicate(8) for bit in self.write_strobe)), "write_mask")
        high_half = Signal(DATA_BITS)
        found, data = [], []
        for register in self._registers:
            for part, (name, offset) in enumerate(register.words):
                hit = bind(m, _at(self.read_word, offset), f"read_{name.lower()}")
                word = high_half if part else self._word(register)[:DATA_BITS]
                found.append(hit)
                data.append(word & hit.replicate(len(word)))
                if register.is_counter and not part:
                    with m.If(self.read & hit):
                        m.d.sync += high_half.eq(self._word(register)[DATA_BITS:])
        m.d.comb += [
            self.read_data.eq(tree(data, lambda a, b: bind(m, a | b, "read_either"))),
            self.read_error.eq(~Cat(*found).any()),
            self.write_error.eq(1),
        ]
        for register in self._registers:
            written = [field for field in register.fields if field.access in _WRITABLE]
            if not written:
                continue
            hit = bind(m, _at(self.write_word, register.offset), f"hit_{register.name.lower()}")
            now = bind(m, hit & self.write, f"write_{register.name.lower()}")
            with m.If(hit):
                m.d.comb += self.write_error.eq(0)
            for field in written:
                self._write(m, register, field, now, strobe)
        return m

    def _write(self, m: Module, register: Register, field: Field, now: Signal, strobe: Signal):
        """Give `field` what a write to its register does to it."""
        port = getattr(self, port_name(register, field))
        place = slice(field.low, field.low + field.width)
        data, mask = self.write_data[place], strobe[place]
        if field.access is Access.COMMAND:
            m.d.comb += port.eq(data & mask & now.replicate(field.width))
        elif field.access is Access.CONTROL:
            with m.If(now):
                m.d.sync += port.eq((data & mask) | (port & ~mask))
        else:
            clear = Mux(now, data & mask, 0)
            events = getattr(self, f"{port_name(register, field)}_set")
            m.d.sync += port.eq((port & ~clear) | events)

    def _word(self, register: Register):
        """Return what a read of `register` gives; both words of a counter."""
        parts, position = [], 0
        for field in register.fields:
            parts.append(Const(0, field.low - position))
            if field.access is Access.CONSTANT:
                parts.append(Const(field.constant(self.config, self.axi), field.width))
            elif field.access is Access.COMMAND:
                parts.append(Const(0, field.width))
            else:
                parts.append(getattr(self, port_name(register, field)))
            position = field.low + field.width
        return Cat(*parts)
