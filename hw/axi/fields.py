"""Registers as data: fields, words, and the rules that a map of them must keep.

Imports no Amaranth.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ..config import ConfigError, EngineConfig
from .config import AxiConfig

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
class Presence:
    """Which cores have a register.

    Attributes
    ----------
    text
        For documentation: "only in cores ...".
    test
        Whether the core of a configuration is one of them.
    """

    text: str
    test: Callable[[EngineConfig, AxiConfig], bool]


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
    only
        Which cores have it; None: all.
    """

    name: str
    offset: int
    text: str
    fields: tuple[Field, ...]
    only: Presence | None = None

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


def constant(name: str, offset: int, text: str, value: Constant) -> Register:
    """Return a word that reads what the configuration gives."""
    return Register(
        name, offset, text, (Field("value", 0, 32, Access.CONSTANT, text, constant=value),)
    )


def number(
    name: str, offset: int, text: str, *, reset: int = 0, only: Presence | None = None
) -> Register:
    """Return a word of 32 bits that software writes."""
    field = Field("value", 0, 32, Access.CONTROL, text, reset=reset)
    return Register(name, offset, text, (field,), only)


def status(name: str, offset: int, text: str, only: Presence | None = None) -> Register:
    """Return a count of 16 bits that hardware gives."""
    return Register(name, offset, text, (Field("value", 0, 16, Access.STATUS, text),), only)


def counter(name: str, offset: int, text: str, only: Presence | None = None) -> Register:
    """Return a counter of 64 bits."""
    return Register(name, offset, text, (Field("value", 0, 64, Access.COUNTER, text),), only)


def feature(name: str, low: int, width: int, text: str, value: Constant) -> Field:
    """Return a field that reads what the configuration gives."""
    return Field(name, low, width, Access.CONSTANT, text, constant=value)


def bits(access: Access, *places: tuple[int, str, str]) -> tuple[Field, ...]:
    """Return fields of one bit each, from (position, name, text)."""
    return tuple(Field(name, low, 1, access, text) for low, name, text in places)


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
