"""Where models come from (the shipped one, or a folder), and in which arithmetic they compute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from golden.errors import InputError
from golden.linear import ACT_BITS_MAX, ACT_BITS_MIN

if TYPE_CHECKING:
    from golden.model import GoldenModel
    from model.fbi import FbiLlm

ASSETS = Path(__file__).with_name("assets")
SHIPPED = "fbi-43m"
"""Name of the trained model that ships with signacc."""


def model_folder(name_or_path: str | None = None) -> Path:
    """Return the folder of a model: the shipped one by default or by name, else a path."""
    if name_or_path in (None, SHIPPED):
        return ASSETS / SHIPPED
    return Path(name_or_path)


def parse_arithmetic(text: str) -> int | None:
    """Return A of ``A<bits>``, None for ``float`` and ``packed``; else raises InputError."""
    if text in ("float", "packed"):
        return None
    match = re.fullmatch(r"A([0-9]{1,2})", text)
    if not match or not ACT_BITS_MIN <= int(match[1]) <= ACT_BITS_MAX:
        raise InputError(f"arithmetic must be float, packed or A4 to A24, not {text!r}")
    return int(match[1])


def load_model(folder: Path, arithmetic: str) -> GoldenModel | FbiLlm:
    """Load a packed model folder; it maps tokens int64 ``[B, T]`` and a cache to logits.

    Parameters
    ----------
    arithmetic
        ``float``: fp32 with W~ from the stored float16 scales; ``packed``: the same on weights that
        stay packed in memory, up to the order of sums; ``A<bits>``: the golden model.

    Raises
    ------
    InputError
        If the model cannot be read, or there is no such arithmetic; for ``packed`` also if there
        is no C++ compiler.
    """
    act_bits = parse_arithmetic(arithmetic)
    if act_bits is None:
        from model.packed import load_float, load_sign_linears

        return load_float(folder) if arithmetic == "float" else load_sign_linears(folder)
    from golden.model import GoldenModel

    # Quicker in a thirty-second of the memory, and the same bits: so wherever it can be had.
    return GoldenModel.from_folder(folder, act_bits=act_bits, keep_packed=_has_kernel())


def _has_kernel() -> bool:
    from golden.signed_sum import paths

    try:
        paths()
    except InputError:
        return False
    return True
