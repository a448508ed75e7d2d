"""Settings of a study, from a JSON file and from options: all in one place, checked by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from ..checks import check_integer, is_number, shown
from ..errors import InputError
from ..jsonfile import Section, read
from ..system import Machine
from .arrivals import MOST_REQUESTS, PROCESSES, Workload, check_cv
from .cost import Prices, check_amount
from .fleet import Fleet, check_accelerators
from .lengths import Lengths
from .requests import LONGEST_S
from .routers import ROUTERS
from .scheduler import POLICIES, Scheduler
from .steps import CASES
from .study import Source, check_loads
from .trace import trace_from_file

SCHEMA = "signacc-serving-1"
"""Value of a settings file's ``schema`` key."""

_CHOICES = {"router": ROUTERS, "policy": POLICIES, "arrivals": PROCESSES, "case": CASES}
_COUNTS = {"accelerators": 1, "max_batch": 1, "token_budget": 1, "requests": 1, "seed": 0}
_NUMBERS = ("cv", "duration_s", "warm_up_s", "years", "price_usd", "usd_per_kwh")
_PRICES = ("price_usd", "usd_per_kwh")
_MOST = {"requests": MOST_REQUESTS, "duration_s": LONGEST_S, "warm_up_s": LONGEST_S}
_LENGTHS = ("prompt_tokens", "output_tokens")
_LISTS = ("loads", "rates")

DEFAULT_LOADS = (0.2, 0.4, 0.6, 0.8, 0.9)
"""Shares of the capacity that are tried unless others are given."""
DEFAULT_MAX_BATCH, DEFAULT_TOKEN_BUDGET = 16, 256
"""Unless given, and unless a pass of the machine holds fewer tokens."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study is asked to do; None where nothing was said. Keys of a file are these names.

    Parameters
    ----------
    accelerators, router, case
        As in :class:`Fleet`.
    policy, max_batch, token_budget
        As in :class:`Scheduler`.
    arrivals, cv, prompt_tokens, output_tokens
        As in :class:`Workload`; lengths as text (:meth:`Lengths.parse`).
    trace
        A file of requests instead of the four before.
    loads, rates
        Arrival rates to try, as shares of the capacity or in requests a second; one of the two.
    requests, duration_s, warm_up_s, seed
        As in :func:`sim.serving.point`.
    price_usd, years, usd_per_kwh
        As in :class:`Prices`; without the first there are no costs, and no other two.
    """

    accelerators: int | None = None
    router: str | None = None
    case: str | None = None
    policy: str | None = None
    max_batch: int | None = None
    token_budget: int | None = None
    arrivals: str | None = None
    cv: float | None = None
    prompt_tokens: str | None = None
    output_tokens: str | None = None
    trace: str | None = None
    loads: tuple[float, ...] | None = None
    rates: tuple[float, ...] | None = None
    requests: int | None = None
    duration_s: float | None = None
    warm_up_s: float | None = None
    seed: int | None = None
    price_usd: float | None = None
    years: float | None = None
    usd_per_kwh: float | None = None

    def over(self, base: Settings) -> Settings:
        """Return these settings, with those of `base` where nothing was said.

        Of settings that exclude one another (loads and rates; a trace and what is drawn; requests
        and a duration) those of `base` go if this has any of the others.
        """
        values = {}
        for name in _NAMES:
            mine = getattr(self, name)
            rivals = _RIVALS.get(name, ())
            beaten = any(getattr(self, rival) is not None for rival in rivals)
            values[name] = mine if mine is not None or beaten else getattr(base, name)
        return Settings(**values)

    def fleet(self, machine: Machine) -> Fleet:
        """Return the fleet; raises InputError as :class:`Fleet` and :class:`Scheduler` do."""
        most = machine.most_tokens
        batch = min(DEFAULT_MAX_BATCH, most) if self.max_batch is None else self.max_batch
        budget = self.token_budget
        if budget is None:
            budget = max(batch, min(DEFAULT_TOKEN_BUDGET, most))
        scheduler = Scheduler(
            policy=self.policy or "chunked", max_batch=batch, token_budget=budget,
            block=machine.formats.kv_block,
        )
        return Fleet(
            machine=machine, scheduler=scheduler,
            accelerators=1 if self.accelerators is None else self.accelerators,
            router=self.router or "round-robin", case=self.case or "nominal",
        )

    def source(self) -> Source:
        """Return what requests come from.

        Raises
        ------
        InputError
            If a trace is given and something to draw, or a value is out of its range.
        """
        drawn = [name for name in _DRAWN if getattr(self, name) is not None]
        if self.trace is not None:
            if drawn:
                raise InputError(f"a trace has its own {drawn[0]}; give one of the two")
            return trace_from_file(self.trace)
        if self.cv is not None and self.arrivals != "gamma":
            raise InputError(f"cv is that of gamma arrivals, not of {self.arrivals or 'poisson'}")
        return Workload(
            process=self.arrivals or "poisson",
            cv=1.0 if self.cv is None else self.cv,
            prompt=Lengths.parse(self.prompt_tokens or "128"),
            output=Lengths.parse(self.output_tokens or "64"),
        )

    def prices(self) -> Prices | None:
        """Return the prices, or None; raises InputError if there is only what belongs to one."""
        given = {name: getattr(self, name) for name in ("years", "usd_per_kwh")
                 if getattr(self, name) is not None}
        if self.price_usd is None:
            if given:
                raise InputError(f"{next(iter(given))} needs a price of an accelerator, price_usd")
            return None
        return Prices(accelerator_usd=self.price_usd, **given)

    def plan(self) -> dict[str, float | int]:
        """Return what to give :func:`sim.serving.point`; raises InputError if a number is bad."""
        if self.requests is not None and self.duration_s is not None:
            raise InputError("give requests or duration_s, not both")
        said = {name: getattr(self, name) for name in ("requests", "duration_s", "warm_up_s")
                if getattr(self, name) is not None}
        seed = 0 if self.seed is None else self.seed
        for name, value in {**said, "seed": seed}.items():
            check_setting(name, value)
        return {"seed": seed, **said}

    def rates_of(self, capacity: float) -> list[float]:
        """Return the arrival rates to try, requests a second; raises InputError if they are bad."""
        if self.loads is not None and self.rates is not None:
            raise InputError("give loads or rates, not both")
        if self.rates is not None:
            check_loads("rates", self.rates)
            return list(self.rates)
        loads = DEFAULT_LOADS if self.loads is None else self.loads
        check_loads("loads", loads)
        return [load * capacity for load in loads]


_NAMES = tuple(field.name for field in fields(Settings))
_DRAWN = ("arrivals", "cv", "prompt_tokens", "output_tokens")
_RIVALS = {
    "loads": ("rates",), "rates": ("loads",), "trace": _DRAWN,
    "requests": ("duration_s",), "duration_s": ("requests",),
} | dict.fromkeys(_DRAWN, ("trace",))


def check_setting(name: str, value: object, called: str | None = None) -> None:
    """Raise InputError if a number is out of the range of setting `name`, whatever the others are.

    Messages call it `called`. Of a setting that is no number, nothing is checked.
    """
    called = called or name
    if name in _PRICES or name == "years":
        check_amount(called, value, above_zero=name == "years")
    elif name == "cv":
        check_cv(called, value)
    elif name == "accelerators":
        check_accelerators(called, value)
    elif name in _LISTS:
        check_loads(called, value)
    elif name in _MOST:
        if not 0 < value <= _MOST[name]:
            raise InputError(
                f"{called} must be above 0 and at most {_MOST[name]:,}, not {shown(value)}"
            )
    elif name in _COUNTS:
        check_integer(called, value, _COUNTS[name])


def settings_from_file(path: str | Path) -> Settings:
    """Read settings from a JSON file; a trace's path is relative to it.

    Raises
    ------
    InputError
        If a key is unknown, missing or twice there, a value breaks its rule, or two keys exclude
        one another; the message names the file, the line and the key.
    """
    section = read(path)
    section.keys(("schema",), _NAMES)
    section.schema(SCHEMA)
    given: list[str] = []
    for name in section.data:
        for rival in _RIVALS.get(name, ()):
            if rival in given:
                raise section.fail(name, f"{name} must not stand beside {rival}: give one of them")
        given.append(name)
    values = {name: _value(section, name) for name in section.data if name != "schema"}
    if "trace" in values:
        values["trace"] = str(Path(path).parent / values["trace"])
    return Settings(**values)


def _value(section: Section, name: str) -> object:
    if name in _COUNTS or name in _NUMBERS:
        number = section.integer(name, _COUNTS[name]) if name in _COUNTS else section.number(name)
        section.checked(name, lambda: check_setting(name, number))
        return number
    if name in _LISTS:
        values = section.data[name]
        if not isinstance(values, list) or not all(
            is_number(value) for value in values
        ):
            raise section.fail(name, f"{name} must be a list of numbers, not {values!r}")
        section.checked(name, lambda: check_setting(name, values))
        return tuple(values)
    if name in _LENGTHS and isinstance(section.data[name], int):
        return str(section.integer(name, 1))
    text = section.text(name)
    if name in _CHOICES and text not in _CHOICES[name]:
        raise section.fail(name, f"{name} must be one of {', '.join(_CHOICES[name])}, not {text!r}")
    if name in _LENGTHS:
        try:
            Lengths.parse(text)
        except InputError as error:
            raise section.fail(name, f"{name}: {error}") from None
    return text
