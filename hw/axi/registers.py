"""The register map, described once.

The decoder in hardware (:mod:`hw.axi.regfile`), the C header, the Python constants, the SystemRDL
file and the table in the documentation are all made from :data:`REGISTERS`. Imports no Amaranth.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ..config import ConfigError, EngineConfig
from .config import AxiConfig

INTERFACE_VERSION = (1, 0)
"""Major and minor version of the register map; a change that breaks drivers raises the major."""
IDENTITY = int.from_bytes(b"SACC", "little")
"""What the register ID reads, so that a driver can tell that it talks to this core."""

DATA_BITS = 32
ADDRESS_BITS = 8
"""Address bits that the core decodes; all 2**ADDRESS_BITS bytes answer."""


class Access(enum.Enum):
    """What software may do with a field, and what hardware sees of it."""

    CONSTANT = enum.auto()
    """Reads a value fixed by the configuration."""
    STATUS = enum.auto()
    """Reads a value that hardware gives."""
    CONTROL = enum.auto()
    """Read and written by software, read by hardware."""
    EVENT = enum.auto()
    """Set by hardware, cleared by software that writes a 1."""
    COMMAND = enum.auto()
    """Writing a 1 gives hardware a pulse of one cycle; reads 0."""
    COUNTER = enum.auto()
    """64 bit in two words; reading the low one keeps the high one."""

    @property
    def short(self) -> str:
        """RO, RW, W1C or WO."""
        return {"CONTROL": "RW", "EVENT": "W1C", "COMMAND": "WO"}.get(self.name, "RO")


Constant = Callable[[EngineConfig, AxiConfig], int]


@dataclass(frozen=True)
class Field:
    """Some bits of a register.

    Attributes
    ----------
    name
        Lower case.
    low, width
        Position.
    access
        See Access.
    text
        One line for documentation.
    reset
        Value after reset (of CONTROL fields).
    constant
        Gives the value of a CONSTANT.
    """

    name: str
    low: int
    width: int
    access: Access
    text: str
    reset: int = 0
    constant: Constant | None = None

    @property
    def mask(self) -> int:
        """The field's bits in its register."""
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """A 32-bit word, or a 64-bit counter in two words.

    Attributes
    ----------
    name
        Upper case in files, lower case in hardware.
    offset
        Byte offset from the core's base address.
    text
        One line for documentation.
    fields
        Its fields, lowest first.
    memory
        True or False: only in cores with / without the read master. None: in all.
    """

    name: str
    offset: int
    text: str
    fields: tuple[Field, ...]
    memory: bool | None = None

    @property
    def is_counter(self) -> bool:
        """Whether this is a 64-bit counter."""
        return self.fields[0].access is Access.COUNTER

    @property
    def words(self) -> list[tuple[str, int]]:
        """Name and offset of its word, or of the two of a counter."""
        if not self.is_counter:
            return [(self.name, self.offset)]
        return [(f"{self.name}_LO", self.offset), (f"{self.name}_HI", self.offset + 4)]


def _constant(name: str, offset: int, text: str, value: Constant) -> Register:
    return Register(
        name, offset, text, (Field("value", 0, 32, Access.CONSTANT, text, constant=value),)
    )


def _number(
    name: str, offset: int, text: str, *, reset: int = 0, memory: bool | None = None
) -> Register:
    field = Field("value", 0, 32, Access.CONTROL, text, reset=reset)
    return Register(name, offset, text, (field,), memory)


def _status(name: str, offset: int, text: str, memory: bool | None = None) -> Register:
    return Register(name, offset, text, (Field("value", 0, 16, Access.STATUS, text),), memory)


def _counter(name: str, offset: int, text: str) -> Register:
    return Register(name, offset, text, (Field("value", 0, 64, Access.COUNTER, text),))


def _bits(access: Access, *bits: tuple[int, str, str]) -> tuple[Field, ...]:
    return tuple(Field(name, low, 1, access, text) for low, name, text in bits)


REGISTERS: tuple[Register, ...] = (
    _constant("ID", 0x00, "0x43434153: the bytes S A C C", lambda c, a: IDENTITY),
    _constant(
        "VERSION", 0x04, "version of this register map: major << 16 | minor",
        lambda c, a: INTERFACE_VERSION[0] << 16 | INTERFACE_VERSION[1],
    ),
    _constant(
        "AXI_DATA_BITS", 0x08, "data width of the read master; 0: there is none",
        lambda c, a: a.axi_data_bits if a.memory else 0,
    ),
    _constant("K_PAR", 0x0C, "inputs of a weight beat", lambda c, a: c.k_par),
    _constant("N_PAR", 0x10, "outputs of a weight beat", lambda c, a: c.n_par),
    _constant("M_PAR", 0x14, "token vectors that share a weight beat", lambda c, a: c.m_par),
    _constant("ACT_BITS", 0x18, "width of quantized activations", lambda c, a: c.act_bits),
    _constant("K_MAX", 0x1C, "largest K", lambda c, a: c.k_max),
    _constant("N_MAX", 0x20, "largest N", lambda c, a: c.n_max),
    _constant("ACT_PAR", 0x24, "activations of a beat of s_axis_act", lambda c, a: c.act_par),
    _constant("OUT_PAR", 0x28, "results of a beat of m_axis_result", lambda c, a: c.out_par),
    Register(
        "CTRL", 0x30, "commands",
        (
            *_bits(
                Access.COMMAND,
                (0, "start", "run the layer of K, N, M, or the list of LIST_*"),
                (1, "reset", "stop, put the core back to idle; a second one ends flushing"),
                (2, "flush_act", "when idle: discard one frame of s_axis_act"),
                (3, "flush_coef", "when idle: discard one frame of s_axis_coef"),
                (4, "flush_weight", "when idle: discard one frame of s_axis_weight"),
            ),
        ),
    ),
    Register(
        "STATUS", 0x34, "what the core does now",
        _bits(
            Access.STATUS,
            (0, "busy", "a run or its clean-up is under way"),
            (1, "recovering", "clean-up: frames are flushed, reads are drained"),
        ),
    ),
    Register(
        "ERROR", 0x38, "what went wrong; each bit stays until a 1 is written to it",
        _bits(
            Access.EVENT,
            (0, "start_busy", "start or flush while busy: it was ignored, the run goes on"),
            (1, "bad_k", "K is 0 or beyond K_MAX"),
            (2, "bad_n", "N is 0 or beyond N_MAX"),
            (3, "bad_m", "M is 0 or beyond M_PAR"),
            (4, "bad_count", "LIST_COUNT is 0 or beyond 65535"),
            (5, "bad_address", "an address is not a multiple of its alignment"),
            (6, "bad_flags", "flags of a descriptor that must be 0 are not"),
            (7, "act_short", "tlast on s_axis_act before the frame's end"),
            (8, "act_long", "no tlast at the end of a frame on s_axis_act"),
            (9, "coef_short", "tlast on s_axis_coef before the frame's end"),
            (10, "coef_long", "no tlast at the end of a frame on s_axis_coef"),
            (11, "weight_short", "tlast on s_axis_weight before the frame's end"),
            (12, "weight_long", "no tlast at the end of a frame on s_axis_weight"),
            (13, "read_slverr", "a read was answered with SLVERR"),
            (14, "read_decerr", "a read was answered with DECERR"),
        ),
    ),
    Register(
        "IRQ_STATUS", 0x3C, "reasons for an interrupt; each stays until a 1 is written to it",
        _bits(
            Access.EVENT,
            (0, "done", "a run came to its end"),
            (1, "error", "a bit of ERROR was set"),
        ),
    ),
    Register(
        "IRQ_ENABLE", 0x40, "which bits of IRQ_STATUS raise irq",
        _bits(Access.CONTROL, (0, "done", "see IRQ_STATUS"), (1, "error", "see IRQ_STATUS")),
    ),
    _number("K", 0x44, "inputs of the layer", memory=False),
    _number("N", 0x48, "outputs of the layer", memory=False),
    _number("M", 0x4C, "token vectors of the layer", reset=1, memory=False),
    _number("LIST_LO", 0x50, "address of the first descriptor, low", memory=True),
    _number("LIST_HI", 0x54, "address of the first descriptor, high", memory=True),
    _number("LIST_COUNT", 0x58, "descriptors of the list", memory=True),
    _status("LAYERS_STARTED", 0x60, "layers of this run that the core has begun"),
    _status("VECTORS_DONE", 0x64, "token vectors of this run whose results have all left"),
    _status("ACT_FRAMES", 0x68, "frames of s_axis_act taken to their tlast in this run"),
    _status("COEF_FRAMES", 0x6C, "the same for s_axis_coef", memory=False),
    _status("WEIGHT_FRAMES", 0x70, "the same for s_axis_weight", memory=False),
    _counter("BUSY_CYCLES", 0x80, "cycles in which STATUS.busy is 1"),
    _counter("STALL_ACT", 0x88, "cycles in which the engine could take activations; none came"),
    _counter("STALL_COEF", 0x90, "cycles in which it could take coefficients; none came"),
    _counter("STALL_WEIGHT", 0x98, "cycles in which it could take weights; none came"),
    _counter("STALL_OUT", 0xA0, "cycles in which a result waited for m_axis_result_tready"),
    _counter("WEIGHT_BEATS", 0xA8, "weight beats that the engine took"),
)
"""The map. A start clears what counts (0x60 and up); after the run it keeps what the run left."""


def check_map(registers: tuple[Register, ...]) -> None:
    """Raise ConfigError if words or fields overlap, or something lies outside its place."""
    words: dict[int, str] = {}
    for register in registers:
        for name, offset in register.words:
            if offset % 4 or not 0 <= offset < 1 << ADDRESS_BITS:
                raise ConfigError(
                    f"offset of {name} must be a multiple of 4 below {1 << ADDRESS_BITS}, "
                    f"not {offset}"
                )
            if offset in words:
                raise ConfigError(
                    f"every word must have its own offset, not {offset:#x} for both "
                    f"{words[offset]} and {name}"
                )
            words[offset] = name
        used = 0
        width = 64 if register.is_counter else DATA_BITS
        for field in register.fields:
            if field.width < 1 or field.low < 0 or field.low + field.width > width:
                raise ConfigError(
                    f"{register.name}.{field.name} must lie within {width} bits, not at "
                    f"{field.low} with width {field.width}"
                )
            if used & field.mask:
                raise ConfigError(f"fields of {register.name} must not overlap: {field.name}")
            used |= field.mask
            if (field.constant is None) == (field.access is Access.CONSTANT):
                raise ConfigError(
                    f"{register.name}.{field.name} must have a constant if and only if it is one"
                )


check_map(REGISTERS)


def registers_of(axi: AxiConfig) -> tuple[Register, ...]:
    """Return the registers that a core built with `axi` has."""
    return tuple(r for r in REGISTERS if r.memory in (None, axi.memory))


def describe(config: EngineConfig, axi: AxiConfig) -> list[dict[str, object]]:
    """Return the register map of one core, for its sidecar."""
    return [
        {
            "name": name,
            "offset": offset,
            "text": register.text,
            "fields": [
                {
                    "name": field.name,
                    "low": field.low,
                    "width": min(field.width, DATA_BITS),
                    "access": field.access.short,
                    "reset": field.constant(config, axi) if field.constant else field.reset,
                    "text": field.text,
                }
                for field in register.fields
            ],
        }
        for register in registers_of(axi)
        for name, offset in register.words
    ]
