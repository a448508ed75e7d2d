"""Stall patterns: in which cycles a source may offer and a sink may accept.

The same pattern drives the testbench and the timing model. A pattern gives every port a gate, a
reproducible sequence of open and closed cycles. A source that has nothing on offer offers its next
item in the first open cycle and then holds it until it is taken; a sink is ready in open cycles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from .errors import InputError

PORTS = ("cmd", "act", "coef", "weight", "result", "scale")
"""Ports of the engine, in the order that seeds their gates."""

_BLOCK = 4096


class Gate:
    """Open and closed cycles of one port: closed with `probability`, independent per cycle."""

    def __init__(self, seed: int, port: str, probability: float):
        self.always_open = probability == 0
        self._probability = probability
        if self.always_open:
            return
        import numpy as np  # a gate that never closes does without: numpy takes long to start

        self._random = np.random.default_rng([seed, PORTS.index(port)])
        self._open = np.zeros(0, dtype=bool)

    def is_open(self, cycle: int) -> bool:
        """Return whether the port is open in `cycle` (0 = first cycle after reset)."""
        if self.always_open:
            return True
        while cycle >= len(self._open):
            import numpy as np

            block = self._random.random(_BLOCK) >= self._probability
            self._open = np.concatenate([self._open, block])
        return bool(self._open[cycle])

    def next_open(self, cycle: int) -> int:
        """Return the first open cycle at or after `cycle`."""
        while not self.is_open(cycle):
            cycle += 1
        return cycle


@dataclass(frozen=True)
class StallPattern:
    """Stall probability of every port, and the seed.

    Parameters
    ----------
    seed
        Non-negative integer.
    probability
        Probability that a port is closed in a cycle: one number for all ports, or a dictionary by
        port name (absent ports never stall). 0 <= probability <= 0.99.

    Raises
    ------
    InputError
        If a probability is out of range or a port unknown.
    """

    seed: int = 0
    probability: float | dict[str, float] = field(default=0.0)

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"a stall seed must be a non-negative integer, not {self.seed!r}")
        given = self.probability
        by_port = given if isinstance(given, dict) else dict.fromkeys(PORTS, given)
        for port, value in by_port.items():
            if port not in PORTS:
                raise InputError(f"a stalled port is one of {', '.join(PORTS)}, not {port!r}")
            if not isinstance(value, int | float) or not 0 <= value <= 0.99:
                raise InputError(
                    f"a stall probability must be from 0 to 0.99, not {value!r} for {port}"
                )

    def gate(self, port: str) -> Gate:
        """Return a fresh gate of `port`, starting at cycle 0."""
        given = self.probability
        value = given.get(port, 0.0) if isinstance(given, dict) else given
        return Gate(self.seed, port, value)

    @cached_property
    def never(self) -> bool:
        """Whether no port ever stalls."""
        return all(self.gate(port).always_open for port in PORTS)


NO_STALLS = StallPattern()
"""Sources that always offer and a sink that is always ready."""
