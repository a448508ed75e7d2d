"""Takes the inputs and outputs of FBI-linears from the golden model while it writes text."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from golden.config import FBI_LINEARS
from golden.errors import InputError
from golden.folder import PackedModel
from golden.generate import generate
from golden.model import GoldenModel

from .job import LayerJob, Writing


@dataclass(frozen=True)
class Capture:
    """What the golden model did with a prompt.

    Attributes
    ----------
    jobs
        Every FBI-linear of the chosen layers with its first `positions` input vectors.
    outputs
        What golden computed for them, float16 ``[positions, N]``.
    tokens
        Prompt, then the tokens that golden wrote.
    prompt_length
        How many of them are the prompt.
    """

    jobs: list[LayerJob]
    outputs: list[np.ndarray]
    tokens: list[int]
    prompt_length: int


def parse_layers(text: str, count: int) -> list[int]:
    """Return the layer numbers that `text` names: ``all``, or numbers and ranges like ``0,2-4``.

    Raises
    ------
    InputError
        If it is not of that form or a layer is not from 0 to count - 1.
    """
    if text == "all":
        return list(range(count))
    layers: set[int] = set()
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(re.fullmatch(r"[0-9]{1,6}", end) for end in ends):
            raise InputError(
                f"layers must be 'all' or numbers and ranges such as 0,2-4, not {text!r}"
            )
        low, high = int(ends[0]), int(ends[-1])
        if low > high or high >= count:
            raise InputError(
                f"layers must be from 0 to {count - 1}, lower end first, not {part.strip()!r}"
            )
        layers.update(range(low, high + 1))
    return sorted(layers)


def capture(
    packed: PackedModel,
    prompt: list[int],
    writing: Writing,
    *,
    layers: list[int],
    positions: int,
    act_bits: int,
) -> Capture:
    """Let golden read `prompt` and write on; keep what passed through the FBI-linears.

    The first `positions` tokens, prompt first and then written ones, give the vectors.

    Raises
    ------
    InputError
        If prompt and text together have fewer than `positions` tokens.
    """
    model = GoldenModel(packed, act_bits=act_bits)
    seen: dict[tuple[int, str], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    rows: dict[tuple[int, str], int] = defaultdict(int)
    wanted = set(layers)

    def trace(layer: int, name: str, x: np.ndarray, y: np.ndarray) -> None:
        room = positions - rows[layer, name]
        if layer in wanted and room > 0:
            seen[layer, name].append((x[:room].copy(), y[:room].copy()))
            rows[layer, name] += min(room, len(x))

    model.trace = trace
    written = list(
        generate(
            model,
            prompt,
            writing.count,
            temperature=writing.temperature,
            top_p=writing.top_p,
            seed=writing.seed,
        )
    )
    jobs, outputs = [], []
    for layer in layers:
        for name in FBI_LINEARS:
            parts = seen[layer, name]
            if rows[layer, name] < positions:
                raise InputError(
                    f"prompt and text must have at least {positions} tokens for {positions} "
                    f"positions, not {rows[layer, name]}: give a longer prompt"
                )
            linear = packed.linears[layer][name]
            jobs.append(
                LayerJob(
                    f"{layer}.{name}",
                    linear.signs,
                    linear.scale_in,
                    linear.shift_in,
                    np.concatenate([x for x, _ in parts]),
                )
            )
            outputs.append(np.concatenate([y for _, y in parts]))
    return Capture(jobs, outputs, prompt + written, len(prompt))
