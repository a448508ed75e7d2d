"""Losses of a model's windows in a file, and the ratio of two models from two such files.

    python -m model.loss_files eval-fbi/losses-fbi.json eval-twin/losses-twin.json --out ratio.json

`model.measure` writes ``losses-<model>.json`` for each model that it measures, so that two models
that were never on one machine can be compared. Perplexity over perplexity, with its interval, is
made of windows of the same tokens alone: the files carry a hash of them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
from torch import Tensor

from golden.errors import InputError

from .errors import told
from .evaluate import Perplexity, ratio
from .files import check_format, write_text

FORMAT = "signacc-window-losses"
VERSION = 1


def tokens_hash(tokens: Tensor) -> str:
    """Return the SHA-256 of int64 ``[n]`` tokens, as little-endian bytes."""
    return hashlib.sha256(tokens.to(torch.int64).cpu().numpy().astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class TextLosses:
    """A model's losses on one text.

    Attributes
    ----------
    tokens : SHA-256 of the text's tokens, see `tokens_hash`
    losses : each window's mean NLL in nats a predicted token, what `evaluate.window_losses` gave
    """

    tokens: str
    losses: tuple[float, ...]

    @classmethod
    def of(cls, tokens: Tensor, losses: Tensor) -> TextLosses:
        """Take int64 ``tokens [n]`` and their fp64 ``losses [windows]``."""
        return cls(tokens_hash(tokens), tuple(losses.tolist()))


@dataclass(frozen=True)
class WindowLosses:
    """A model's losses on some texts, in windows of `window` tokens."""

    model: str
    window: int
    texts: Mapping[str, TextLosses]

    def write(self, path: Path) -> None:
        """Write it as JSON, under a temporary name first; floats are read back to the bit."""
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)})
        write_text(Path(path), text + "\n")

    @classmethod
    def read(cls, path: Path) -> WindowLosses:
        """Read it; raises InputError if it is missing, of another kind or not finite."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            check_format(data, FORMAT, VERSION, Path(path))
            texts = {
                str(name): TextLosses(str(part["tokens"]), tuple(map(float, part["losses"])))
                for name, part in data["texts"].items()
            }
            found = cls(str(data["model"]), int(data["window"]), texts)
        except InputError:  # a ValueError whose message says it all
            raise
        except OSError as error:
            raise InputError(f"a file of losses must be there: {path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} must be a file of window losses: {error!r}") from None
        for name, part in texts.items():
            if not all(math.isfinite(v) for v in part.losses):
                raise InputError(f"{path}: the losses of {name} must be finite")
        return found


def ratios(ours: WindowLosses, theirs: WindowLosses) -> dict[str, dict[str, object]]:
    """Return, for each text, both perplexities and their ratio with its 95 % interval.

    Raises
    ------
    InputError
        If the two have other texts, tokens or windows.
    """
    if ours.window != theirs.window:
        raise InputError(
            f"both must be of windows of one length, not {ours.window} and {theirs.window} tokens"
        )
    if set(ours.texts) != set(theirs.texts):
        raise InputError(
            f"both must be of the same texts, not {', '.join(sorted(ours.texts))} and "
            f"{', '.join(sorted(theirs.texts))}"
        )
    result: dict[str, dict[str, object]] = {}
    for name, mine in ours.texts.items():
        other = theirs.texts[name]
        if mine.tokens != other.tokens:
            raise InputError(
                f"both must be of the same tokens of {name}, not of SHA-256 {mine.tokens[:12]}… "
                f"and {other.tokens[:12]}…"
            )
        pair = [torch.tensor(part.losses, dtype=torch.float64) for part in (mine, other)]
        result[name] = {
            "perplexity": [round(Perplexity.of(p, ours.window).perplexity, 4) for p in pair],
            **ratio(*pair),
        }
    return result


@click.command()
@click.argument("ours", type=click.Path(path_type=Path))
@click.argument("theirs", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file.")
@told()
def main(ours: Path, theirs: Path, out: Path | None) -> None:
    """Print the perplexity of OURS over that of THEIRS, two files of model.measure."""
    files = [WindowLosses.read(path) for path in (ours, theirs)]
    found = {
        "models": [file.model for file in files],
        "window": files[0].window,
        "texts": ratios(*files),
    }
    text = json.dumps(found, indent=1)
    if out is not None:
        if not out.parent.is_dir():
            raise InputError(f"the output file's folder must exist; there is none for {out}")
        write_text(out, text + "\n")
    click.echo(text)


if __name__ == "__main__":
    main()
