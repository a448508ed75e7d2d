"""``manifest.json`` of a compact training state: which training, which parameters, which parts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from golden.config import FBI_LINEARS, ModelConfig, linear_key
from golden.errors import InputError

from .checkpoint import check_continues
from .checksums import sealed, unsealed
from .compact_codes import PARAMETER_CODES
from .fbi import FbiLlm
from .files import check_format, write_text
from .parts import Part
from .settings import TrainSettings

NAME = "manifest.json"
FORMAT = "signacc-compact"
VERSION = 1
LOST = {
    "exact": False,
    "decoder linears' weights": "bfloat16; signs are kept",
    "second moments": "8 bits, logarithmic, 1/8 octave between levels",
    "first moments": "8 bits, as shares of the second moments' roots",
    "all else": "kept",
}


@dataclass(frozen=True)
class Entry:
    """A parameter: its name, shape and code, and the bytes of its own and its moments' planes."""

    name: str
    shape: tuple[int, ...]
    code: str
    parameter: tuple[int, ...]
    exp_avg_sq: tuple[int, ...]
    exp_avg: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of all planes in the order of the stream."""
        return (*self.parameter, *self.exp_avg_sq, *self.exp_avg)


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes
    ----------
    state : of the checkpoint, see `model.checkpoint.read_state`
    metrics : bytes of ``metrics.csv``, plain and as a stream
    entries : parameters in the order of the stream; metrics come first
    parts : files of the stream
    loss_measured : of what was saved, root mean square and relative: change of AdamW's next step,
        m / (√v + eps), and of the weights kept in bfloat16
    """

    state: dict[str, Any]
    metrics: tuple[int, int]
    entries: tuple[Entry, ...]
    parts: tuple[Part, ...]
    loss_measured: dict[str, float]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.state["step"])

    @property
    def betas(self) -> tuple[float, float]:
        """Of AdamW."""
        return read_settings(self.state, NAME).betas

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    def write(self, folder: Path) -> None:
        """Write it to `folder`, under a temporary name first."""
        data = {"format": FORMAT, "version": VERSION, "lost": LOST, **asdict(self)}
        write_text(Path(folder) / NAME, json.dumps(sealed(data, {}), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read it; raises InputError if it is missing, of another kind, or against itself."""
        path = Path(folder) / NAME
        if not path.is_file():
            raise InputError(f"a compact state must hold {NAME}; there is none in {folder}")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            check_format(data, FORMAT, VERSION, path)
            unsealed(data, path)  # one of before there were hashes of manifests is not checked
            entries = tuple(
                Entry(**{k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()})
                for entry in data["entries"]
            )
            plain, stream = data["metrics"]
            parts = tuple(Part(**part) for part in data["parts"])
            found = cls(data["state"], (plain, stream), entries, parts, data["loss_measured"])
            layers = ModelConfig.from_dict(found.state["config"], where=str(path)).num_hidden_layers
            # a model of so many layers takes a minute to lay out: not for one that it is not
            shapes = parameters_of(found.state, str(path))[0] if len(entries) > layers else {}
            same = len(entries) == len(shapes) and {e.name: e.shape for e in entries} == shapes
            sizes = [stream, *(size for entry in entries for size in entry.sizes)]
            whole = all(type(n) is int and n >= 0 for n in (plain, found.state["step"], *sizes))
            agrees = whole and sum(sizes) == found.bytes
            steps = read_settings(found.state, str(path)).steps
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} must be a manifest of a compact state: {error!r}") from None
        if not same:
            raise InputError(f"{path} must name the parameters of the model it is of, once each")
        if not agrees:
            raise InputError(f"{path} must give whole numbers of bytes that add up to its parts'")
        if found.step > steps:
            raise InputError(f"{path} must be of a step up to {steps}, its last, not {found.step}")
        for entry in entries:
            if entry.code not in PARAMETER_CODES:
                raise InputError(
                    f"{path}: a code is one of {', '.join(PARAMETER_CODES)}, not {entry.code!r}"
                )
            counts = tuple(map(len, (entry.parameter, entry.exp_avg_sq, entry.exp_avg)))
            if counts != (PARAMETER_CODES[entry.code][2], 5, 1):
                raise InputError(f"{path}: {entry.name} must have planes as its codes do")
        return found


def read_settings(state: dict[str, Any], where: str) -> TrainSettings:
    """Return the settings of a checkpoint's state; InputError names `where`."""
    return TrainSettings.from_dict(state["settings"], where)


def parameters_of(
    state: dict[str, Any], where: str
) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """Return shapes of the parameters by name, and which are weights of decoder linears."""
    settings = read_settings(state, where)
    config = ModelConfig.from_dict(state["config"], where=where)
    with torch.device("meta"):
        model = FbiLlm(config, binary=settings.binary, scale_axis=settings.scale_axis)
    linears = frozenset(
        f"{linear_key(layer, name)}.weight"
        for layer in range(config.num_hidden_layers)
        for name in FBI_LINEARS
    )
    return {name: tuple(p.shape) for name, p in model.named_parameters()}, linears


def check_same(state: dict[str, Any], other: dict[str, Any], where: str) -> None:
    """Refuse if the training of `state`, which `where` names, is not that of `other`."""
    settings = read_settings(other, "the state")
    check_continues(state, settings, ModelConfig.from_dict(other["config"]), where)
