"""A packed model as the memory image that an engine reads: weights in its stream order.

An image is ``image.bin`` and ``image.json``. For each FBI-linear the binary holds its coefficients
(K times scale and shift, binary16, little-endian) and then its weight beats, each filled up to
whole bytes; both begin at multiples of ALIGNMENT. The JSON says which engine it is for and where
everything lies. The code of the beats is that of :mod:`hw.streams`. An FBI-LLM has no scales on the
output axis: an engine with `scale_out` must be given ones, which are not in the image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from golden.config import linear_key
from golden.errors import InputError
from golden.files import made_folder
from golden.folder import load_packed
from hw.config import ConfigError, EngineConfig
from hw.streams import weight_beats, weights_from_beats

from .files import check_output_folder, write_files

FORMAT = "signacc-image"
VERSION = 1
ALIGNMENT = 128
"""Bytes: a whole beat of the widest AXI bus that a core can have, 1,024 bits."""
BINARY, INDEX = "image.bin", "image.json"


@dataclass(frozen=True)
class ImageLayer:
    """Where an FBI-linear lies in the image; offsets and sizes in bytes.

    Attributes
    ----------
    name
        Tensor name without its ending, as in the packed model.
    k, n
        Inputs, outputs.
    coef_offset, coef_bytes
        4·K bytes.
    weight_offset, weight_bytes
        ``beats * ceil(weight_beat_bits / 8)``.
    beats
        Weight beats.
    """

    name: str
    k: int
    n: int
    coef_offset: int
    coef_bytes: int
    weight_offset: int
    weight_bytes: int
    beats: int


def export_image(
    model: str | Path,
    config: EngineConfig,
    output: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[ImageLayer]:
    """Write the image of the packed model in folder `model` for `config` to folder `output`.

    Parameters
    ----------
    progress
        Called with (layers done, layers in all).

    Raises
    ------
    InputError, ConfigError
        If the model cannot be read or a layer does not fit the engine.
    OSError
        If the folder cannot be written; an image that was there is left as it was.
    """
    packed = load_packed(model)
    layers: list[ImageLayer] = []
    digest = hashlib.sha256()

    def parts() -> Iterator[bytes]:
        position = 0

        def aligned(data: bytes) -> bytes:
            nonlocal position
            padded = data + bytes(-len(data) % ALIGNMENT)
            position += len(padded)
            digest.update(padded)
            return padded

        jobs = [
            (linear_key(index, name), linear)
            for index, linears in enumerate(packed.linears)
            for name, linear in linears.items()
        ]
        for done, (key, linear) in enumerate(jobs):
            k, n = len(linear.scale_in), len(linear.signs)
            pairs = np.stack([linear.scale_in, linear.shift_in], axis=1).astype("<f2")
            beats = weight_beats(config, linear.signs, k)
            start = position
            coefficients = aligned(pairs.tobytes())
            weight_start = position
            weights = aligned(beats.tobytes())
            layers.append(
                ImageLayer(key, k, n, start, pairs.nbytes, weight_start, beats.nbytes, len(beats))
            )
            yield coefficients
            yield weights
            if progress is not None:
                progress(done + 1, len(jobs))

    def index() -> Iterator[bytes]:
        text = {
            "format": FORMAT,
            "version": VERSION,
            "engine": config.to_dict(),
            "model": Path(model).name,
            "sha256": digest.hexdigest(),
            "layers": [asdict(layer) for layer in layers],
        }
        yield (json.dumps(text, indent=1) + "\n").encode()

    folder = Path(output)
    check_output_folder(folder)
    with made_folder(folder):
        write_files({folder / BINARY: parts(), folder / INDEX: index()})
    return layers


def read_image(
    folder: str | Path,
) -> Iterator[tuple[ImageLayer, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (layer, signs, scale_in, shift_in) of every layer of an image: undoes export_image.

    signs is uint8 ``[N, ceil(K/8)]``, least significant bit first, 1 = +1; the scales are float16
    ``[K]``.

    Raises
    ------
    InputError
        If the folder holds no whole image.
    """
    folder = Path(folder)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        data = (folder / BINARY).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / INDEX} must be valid JSON: {error}") from None
    if not isinstance(index, dict) or (index.get("format"), index.get("version")) != (
        FORMAT, VERSION,
    ):
        raise InputError(f"{folder / INDEX} must be of format {FORMAT}, version {VERSION}")
    if hashlib.sha256(data).hexdigest() != index.get("sha256"):
        raise InputError(f"{folder / BINARY} is not the file that {INDEX} describes")
    try:
        config = EngineConfig.from_dict(index.get("engine"), where=f"engine in {folder / INDEX}")
    except ConfigError as error:
        raise InputError(str(error)) from None
    width = -(-config.weight_beat_bits // 8)
    for number, entry in enumerate(_entries(index, folder)):
        try:
            layer = ImageLayer(**entry)
            pairs = np.frombuffer(data, "<f2", 2 * layer.k, layer.coef_offset).reshape(-1, 2)
            beats = np.frombuffer(data, np.uint8, layer.beats * width, layer.weight_offset)
            signs, _ = weights_from_beats(config, beats.reshape(-1, width), layer.n, layer.k)
        except (TypeError, ValueError) as error:  # ConfigError is a ValueError
            raise InputError(
                f"layer {number} of {folder / INDEX} must lie within {BINARY} and fit its engine: "
                f"{error}"
            ) from None
        yield layer, signs, pairs[:, 0].copy(), pairs[:, 1].copy()


def _entries(index: dict, folder: Path) -> list:
    layers = index.get("layers")
    if not isinstance(layers, list):
        raise InputError(f"{folder / INDEX} must have a list of layers, not {layers!r}")
    return layers

