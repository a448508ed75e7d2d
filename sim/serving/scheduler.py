"""How an accelerator batches, and how many positions its memory holds."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_integer
from ..errors import InputError
from ..system import Machine, kv_positions

POLICIES = ("chunked", "prefill-first")
"""How prompts are read while others write.

``chunked``: every iteration takes a token of each running sequence, then prompt tokens up to the
budget (Agrawal et al., Sarathi-Serve, arXiv 2403.02310). ``prefill-first``: an iteration is prompt
tokens alone as long as there is a prompt to be read and room for it, else a token of each running
sequence (vLLM's first scheduler; Kwon et al., arXiv 2309.06180).
"""


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """Continuous batching: who joins and leaves is decided at every iteration (Orca, OSDI 2022).

    Requests are admitted first come, first served: the first that does not fit holds up the rest.
    Admission reserves blocks of the KV cache for a request's whole length, so none is ever thrown
    out. An iteration is one pass of the machine.

    Parameters
    ----------
    policy
        One of :data:`POLICIES`.
    max_batch
        Sequences that run at once at most, those whose prompt is being read included.
    token_budget
        Tokens of an iteration at most.
    block
        Positions of a KV-cache block; a request takes whole blocks.

    Raises
    ------
    InputError
        If the policy is unknown, a number is below 1, or the budget below the batch.
    """

    policy: str = "chunked"
    max_batch: int = 16
    token_budget: int = 256
    block: int = 16

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise InputError(f"policy must be one of {', '.join(POLICIES)}, not {self.policy!r}")
        for name in ("max_batch", "token_budget", "block"):
            check_integer(name, getattr(self, name), 1)
        if self.token_budget < self.max_batch:
            raise InputError(
                f"token_budget must be at least max_batch = {self.max_batch}, not "
                f"{self.token_budget}"
            )

    def check(self, machine: Machine) -> None:
        """Raise InputError if an iteration is more than one pass of the machine."""
        most = machine.most_tokens
        for name in ("max_batch", "token_budget"):
            if getattr(self, name) > most:
                raise InputError(
                    f"{name} must be at most the {most} tokens of a pass for which "
                    f"{machine.system.name} has activation buffers, not {getattr(self, name)}"
                )

    def blocks(self, positions: int) -> int:
        """Return the blocks that so many positions take."""
        return -(-positions // self.block)


@dataclass(frozen=True)
class KvCache:
    """Room for keys and values: `positions` of the machine, of which whole `blocks` are used."""

    positions: int
    blocks: int


def kv_cache(machine: Machine, scheduler: Scheduler) -> KvCache:
    """Return what the machine's memory leaves for keys and values beside the weights.

    Raises
    ------
    InputError
        If the weights do not fit, or not one block does beside them.
    """
    positions = kv_positions(machine)
    if positions < scheduler.block:
        raise InputError(
            f"the KV cache must hold at least a block of {scheduler.block} positions beside the "
            f"weights, not {positions} positions"
        )
    return KvCache(positions, positions // scheduler.block)
