"""What a long measurement has done so far, in a file beside its result: part by part.

A part has a name, says what it is of (hashes of what went in, settings), and has a result that JSON
holds. A call that finds a part of the same takes it; of anything else it makes it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

import golden
from golden.errors import InputError

from .checksums import sealed, unsealed
from .files import check_format, write_text

FORMAT = "signacc-kept-parts"
VERSION = 1

T = TypeVar("T")


def model_hash(model: nn.Module, config: Mapping[str, object]) -> str:
    """Return the SHA-256 of a model's shape and tensors, wherever they are."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def code_hash() -> str:
    """Return the SHA-256 of the sources that a model's figures depend on: golden and model."""
    digest = hashlib.sha256()
    for folder in (Path(golden.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.glob("*.py")):
            digest.update(f"{folder.name}/{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Kept:
    """Results of parts, kept in a file as soon as they are there.

    Parameters
    ----------
    path : the file; it is read if it is there
    settings : what every part is of, too
    say : told of each part that the file has, whether it is taken

    Raises
    ------
    InputError
        If the file is of another kind, or damaged.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, object], say: Callable[[str], object]
    ) -> None:
        self.path, self.settings, self._say = Path(path), settings, say
        self._parts: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self._parts = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            data, files = unsealed(json.loads(self.path.read_text(encoding="utf-8")), self.path)
            check_format(data, FORMAT, VERSION, self.path)
            if files is None:
                raise KeyError("sha256")
            return dict(data["parts"])
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{self.path} must hold parts of a measurement (remove it to begin anew): {error!r}"
            ) from None

    def part(self, name: str, of: Mapping[str, object], compute: Callable[[], T]) -> T:
        """Return the result of `compute`, as JSON gives it back: the one that is kept if there is.

        Parameters
        ----------
        name : of the part; the file holds one of each name
        of : what the result depends on

        Raises
        ------
        OSError
            If the file cannot be written; it stays as it was.
        """
        wanted = json.loads(json.dumps({**self.settings, **of}))
        if name in self._parts:
            found = self._parts[name]["of"]
            others = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
            if not others:
                self._say(f"{name}: kept in {self.path}")
                return self._parts[name]["result"]
            self._say(f"{name}: in {self.path} it is of other {', '.join(others)}; computed anew")
        result = json.loads(json.dumps(compute()))
        self._parts[name] = {"of": wanted, "result": result}
        data = sealed({"format": FORMAT, "version": VERSION, "parts": self._parts}, {})
        write_text(self.path, json.dumps(data) + "\n")
        return result

    def remove(self) -> None:
        """Remove the file: its parts are in the result."""
        self.path.unlink(missing_ok=True)
