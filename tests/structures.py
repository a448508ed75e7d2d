"""Hypothesis strategy: structures of the array with all that belongs to them."""

from __future__ import annotations

from hypothesis import strategies as st

from hw.config import STRUCTURES


@st.composite
def structures(draw) -> dict:
    """Return `structure`, `group` and `ternary` of a legal engine."""
    structure = draw(st.sampled_from(STRUCTURES))
    ternary = structure != "triple" and draw(st.booleans())
    most = {"shared": 4 if ternary else 6, "tables": 3 if ternary else 6}.get(structure, 1)
    return {
        "structure": structure,
        "group": draw(st.integers(min(2, most), most)),
        "ternary": ternary,
    }
