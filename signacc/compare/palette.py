"""Colours of plots and page: light values, and the dark ones that take their place in the dark."""

from __future__ import annotations

LIGHT = {
    "surface": "#fdfdfc",
    "ink": "#1c2126",
    "muted": "#5a6570",
    "grid": "#dfe3e6",
    "series-0": "#0b66b2",
    "series-1": "#b4530f",
    "series-2": "#14794c",
    "series-3": "#7d46a6",
    "series-4": "#866400",
    "series-5": "#b02a60",
    "series-6": "#0f7480",
    "series-7": "#57606b",
    "series-8": "#c0392b",
    "series-9": "#4c5fd0",
}
"""Colours by name; every value stands for one name alone, so that it can be replaced in an SVG."""

DARK = {
    "surface": "#15191d",
    "ink": "#e8ebee",
    "muted": "#a3adb7",
    "grid": "#333b43",
    "series-0": "#62b0f4",
    "series-1": "#f0955a",
    "series-2": "#55c791",
    "series-3": "#c39be8",
    "series-4": "#d9b548",
    "series-5": "#f285ae",
    "series-6": "#54c6d2",
    "series-7": "#aab4be",
    "series-8": "#f0857a",
    "series-9": "#9dabff",
}
"""The same names in the dark."""

SERIES = tuple(name for name in LIGHT if name.startswith("series-"))
"""Names of colours that tell machines apart; they are taken in turn."""


def css_variables(colours: dict[str, str]) -> str:
    """Return the colours as declarations of CSS custom properties."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


def follow_theme(svg: str) -> str:
    """Return an SVG drawn in ``LIGHT`` with its colours replaced by CSS custom properties."""
    for name, value in LIGHT.items():
        svg = svg.replace(value, f"var(--{name})")
    return svg
