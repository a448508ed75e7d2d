"""Reads SAIF files (Switching Activity Interchange Format, an annex of IEEE 1801), strictly.

Only what simulators write in backward SAIF 2.0 is known: headers, instances, nets and ports with
T0, T1, TX, TZ, TB, TC and IG. Anything else is refused with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from golden.errors import InputError

_TOKEN = re.compile(r'(?:\s+|//[^\n]*)*("[^"\n]*"|[()]|(?:\\.|[^\s()"\\])+|.|)', re.DOTALL)
_COUNT = r"\s*\((?:T[01XZBC]|IG)\s+[0-9]+\s*\)"
# The net as simulators write it, taken at once: files hold hundreds of thousands.
_NET = re.compile(rf"\s*\(\s*((?:\\.|[^\s()\"\\])+)((?:{_COUNT})+)\s*\)")
_ONE = re.compile(r"(T[01XZBC]|IG)\s+([0-9]+)")
_BIT = re.compile(r"(?P<name>.+?)\\?\[(?P<bit>[0-9]+)\\?\]")
_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15}
_HEADERS = ("DIRECTION", "DESIGN", "DATE", "VENDOR", "PROGRAM_NAME", "VERSION", "DIVIDER")
_COUNTS = ("T0", "T1", "TX", "TZ", "TB", "TC", "IG")


@dataclass
class Net:
    """A net or port of an instance.

    Attributes
    ----------
    toggles
        By bit: changes between 0 and 1 (TC).
    high
        By bit: time at 1 (T1), in units of the file's time scale.
    """

    toggles: dict[int, int] = field(default_factory=dict)
    high: dict[int, int] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """Bits that are there."""
        return len(self.toggles)

    @property
    def total(self) -> int:
        """Toggles of all bits."""
        return sum(self.toggles.values())


@dataclass
class Saif:
    """A file's content.

    Attributes
    ----------
    duration
        Observed time, in units of `time_unit_s`.
    time_unit_s
        Seconds.
    nets
        By instance path (names joined by ``/``) and name of the net. Escapes are removed; a net of
        one bit has bit 0, an element of a memory is part of the name.
    """

    duration: int
    time_unit_s: float
    nets: dict[str, dict[str, Net]]


def read_saif(path: Path) -> Saif:
    """Read a SAIF file.

    Raises
    ------
    InputError
        If it cannot be read or is no SAIF that is known here; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} must be UTF-8 text: {error}") from None
    return _Reader(text, str(path)).file()


class _Reader:
    """Recursive descent over the file's text; `_at` is where the next token is looked for."""

    def __init__(self, text: str, where: str):
        self._where = where
        self._text = text
        self._at = self._start = 0
        self._saif = Saif(-1, 0.0, {})

    def file(self) -> Saif:
        """Read everything."""
        self._expect("(", "SAIFILE")
        while (token := self._take("( or )")) == "(":
            self._entry(self._word("a header, DURATION or INSTANCE"))
        if token != ")":
            raise self._fail(f"SAIFILE holds entries in parentheses, not {token!r}")
        if token := self._next():
            raise self._fail(f"nothing may follow SAIFILE, not {token!r}")
        for known, what in ((self._saif.duration >= 0, "DURATION"),
                            (self._saif.time_unit_s > 0, "TIMESCALE"),
                            (self._saif.nets, "INSTANCE")):
            if not known:
                raise self._fail(f"{what} must be given")
        return self._saif

    def _entry(self, word: str) -> None:
        if word == "SAIFVERSION":
            version = self._word("a version")
            if version != '"2.0"':
                raise self._fail(f'SAIFVERSION must be "2.0", not {version}')
            self._expect(")")
        elif word == "TIMESCALE":
            self._saif.time_unit_s = self._timescale()
        elif word == "DURATION":
            self._saif.duration = self._number("DURATION")
            self._expect(")")
        elif word == "INSTANCE":
            self._instance(())
        elif word in _HEADERS:
            while self._take(") after a header") != ")":
                pass
        else:
            raise self._fail(f"an entry of SAIFILE is a header, DURATION or INSTANCE, not {word!r}")

    def _timescale(self) -> float:
        text = ""
        while (token := self._take("a time scale")) not in "()":
            text += token
        match = re.fullmatch(r"(1|10|100)(s|ms|us|ns|ps|fs)", text)
        if not match or token != ")":
            raise self._fail(
                f"TIMESCALE must be 1, 10 or 100 of s, ms, us, ns, ps or fs, not {text!r}"
            )
        return int(match[1]) * _TIMES[match[2]]

    def _instance(self, above: tuple[str, ...]) -> None:
        if self._saif.duration < 0:
            raise self._fail("DURATION must stand before the first INSTANCE")
        here = (*above, _plain(self._word("the name of an instance")))
        nets = self._saif.nets.setdefault("/".join(here), {})
        while (token := self._take("( or )")) == "(":
            word = self._word("INSTANCE, NET or PORT")
            if word == "INSTANCE":
                self._instance(here)
            elif word in ("NET", "PORT"):
                self._nets(nets)
            else:
                raise self._fail(f"an instance holds INSTANCE, NET and PORT, not {word!r}")
        if token != ")":
            raise self._fail(f"an instance holds entries in parentheses, not {token!r}")

    def _nets(self, nets: dict[str, Net]) -> None:
        while True:
            if quick := _NET.match(self._text, self._at):
                name, counted = quick[1], _ONE.findall(quick[2])
                self._start, self._at = quick.start(1), quick.end()
                counts = {what: int(number) for what, number in counted}
                if len(counts) < len(counted):
                    raise self._fail(f"a net has each of {', '.join(_COUNTS)} once")
            elif (token := self._take("( or )")) == "(":
                name = self._word("the name of a net")
                counts = self._counts()
            elif token == ")":
                return
            else:
                raise self._fail(f"nets stand in parentheses, not {token!r}")
            self._add(nets, name, counts)

    def _add(self, nets: dict[str, Net], name: str, counts: dict[str, int]) -> None:
        bit = 0
        # Bits of a net stand as name\[0\], words of a memory as name[3], bits of those as both.
        if (name.endswith(r"\]") or not name.endswith("]")) and (match := _BIT.fullmatch(name)):
            name, bit = match["name"], int(match["bit"])
        name = _plain(name)
        for what in ("T0", "T1", "TC"):
            if what not in counts:
                raise self._fail(f"{what} of {name} must be given")
        observed = sum(counts.get(state, 0) for state in ("T0", "T1", "TX", "TZ", "TB"))
        if observed != self._saif.duration:
            raise self._fail(
                f"T0, T1, TX, TZ and TB of {name} must sum to the duration "
                f"{self._saif.duration}, not {observed}"
            )
        net = nets.setdefault(name, Net())
        if bit in net.toggles:
            raise self._fail(f"bit {bit} of {name} must stand once in its instance")
        net.toggles[bit], net.high[bit] = counts["TC"], counts["T1"]

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        while (token := self._take("( or )")) == "(":
            what = self._word("a count")
            if what not in _COUNTS or what in counts:
                raise self._fail(f"a net has each of {', '.join(_COUNTS)} once, not {what!r}")
            counts[what] = self._number(what)
            self._expect(")")
        if token != ")":
            raise self._fail(f"counts stand in parentheses, not {token!r}")
        return counts

    # ---- tokens --------------------------------------------------------------------------

    def _next(self) -> str:
        """Return the next token, an empty text at the end."""
        match = _TOKEN.match(self._text, self._at)
        self._start, self._at = match.start(1), match.end()
        return match[1]

    def _take(self, wanted: str) -> str:
        if not (token := self._next()):
            raise self._fail(f"the file ends where {wanted} must stand")
        return token

    def _word(self, wanted: str) -> str:
        token = self._take(wanted)
        if token in "()":
            raise self._fail(f"{wanted} must stand here, not {token!r}")
        return token

    def _expect(self, *tokens: str) -> None:
        for wanted in tokens:
            token = self._take(repr(wanted))
            if token != wanted:
                raise self._fail(f"{wanted!r} must stand here, not {token!r}")

    def _number(self, what: str) -> int:
        token = self._word("a number")
        if not re.fullmatch(r"[0-9]+", token):
            raise self._fail(f"{what} must be an integer of at least 0, not {token!r}")
        return int(token)

    def _fail(self, message: str) -> InputError:
        line = self._text.count("\n", 0, self._start) + 1
        return InputError(f"{self._where}, line {line}: {message}")


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)
