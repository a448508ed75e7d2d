"""Where models come from: the shipped one, or a folder."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).with_name("assets")
SHIPPED = "fbi-43m"
"""Name of the trained model that ships with signacc."""


def model_folder(name_or_path: str | None = None) -> Path:
    """Return the folder of a model: the shipped one by default or by name, else a path."""
    if name_or_path in (None, SHIPPED):
        return ASSETS / SHIPPED
    return Path(name_or_path)
