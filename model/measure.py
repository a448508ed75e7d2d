"""Measures a trained model, its twin and the teacher on the same text; writes samples.

    python -m model.measure --teacher FILE.gguf --packed run-fbi/packed --twin run-twin \\
        --slices slices --held-out corpus/held-out.npy --out results

`slices` holds ``*.utf8`` files of text that training has not seen. The packed model may have been
made elsewhere, and one of the two is enough: what the ratio needs is kept in
``losses-<model>.json`` (`model.loss_files`). What is done is kept in ``eval-parts.json`` until
``eval.json`` is written: the same command goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from golden.errors import InputError
from golden.files import made_folder
from golden.generate import check_room, encoded, generate, load_tokenizer

from .checkpoint import COMPACT, checkpoints, read_state
from .data import expand, load_shard
from .errors import told
from .evaluate import Logits, Perplexity, perplexity, ratio, window_losses
from .fbi import FbiLlm
from .files import write_text
from .kept import Kept, code_hash, model_hash
from .loss_files import TextLosses, WindowLosses, tokens_hash
from .manifest import vocabulary_hash
from .packed import load_float
from .teacher import Teacher, load_teacher
from .tokenizer import END_OF_TEXT, Vocabulary, pieces, read_vocabulary
from .trained import load_trained

PROMPTS = (
    "Once upon a time, there was a little girl who",
    "The river Nile",
    "A telescope is",
    "How to cook rice\n\n",
)
DRAWN = (("temperature 0.8, top-p 0.9", 0.8, 0.9), ("temperature 1, top-p 0.9", 1.0, 0.9))


TEACHER_WINDOW = 384
"""Teacher tokens of a window: about the text of a student's of 512."""


Scores = dict[str, float]


@dataclass(frozen=True)
class Text:
    """A held-out text in both tokenizations, cut to whole windows of the student's.

    Attributes
    ----------
    student, teacher : int64 ``[tokens]``
    bytes : UTF-8 bytes of the text
    """

    student: Tensor
    teacher: Tensor
    bytes: int

    @classmethod
    def read(cls, text: str, cut: Tokenizer, full: Tokenizer, tokens: int, window: int) -> Text:
        """Take the head of `text`, about `tokens` student tokens in whole windows."""
        ids = cut.encode(text[: tokens * 8], add_special_tokens=False).ids
        count = min(tokens, len(ids)) // window * window
        head = cut.decode(ids[:count], skip_special_tokens=False)
        teacher = full.encode(head, add_special_tokens=False).ids
        return cls(torch.tensor(ids[:count]), torch.tensor(teacher), len(head.encode()))


def read_texts(
    folder: Path, cut: Tokenizer, full: Tokenizer, tokens: int, window: int
) -> dict[str, Text]:
    """Return the ``*.utf8`` files of a folder by name, in order; see `Text.read`.

    Raises
    ------
    InputError
        If there are none, one is not UTF-8, or has not a window for the student and the teacher.
    """
    if tokens < window:
        raise InputError(f"tokens must be at least a window of {window}, not {tokens}")
    files = sorted(folder.glob("*.utf8"))
    if not files:
        raise InputError(f"{folder} must hold *.utf8 texts; it holds none")
    texts = {}
    for file in files:
        try:
            text = Text.read(file.read_text(encoding="utf-8"), cut, full, tokens, window)
        except UnicodeDecodeError as error:
            raise InputError(f"{file} must be UTF-8 text: {error}") from None
        for whose, found, least in (
            ("the student", text.student, window), ("the teacher", text.teacher, TEACHER_WINDOW),
        ):  # fmt: skip
            if len(found) < least:
                raise InputError(
                    f"{file} must have a window of {least} tokens of {whose}; whole windows of "
                    f"the student hold {len(found)}"
                )
        texts[file.stem] = text
    return texts


def read_rows(path: Path, vocabulary: int, positions: int) -> np.ndarray:
    """Return the first rows of a shard uint16 ``[n, length]``, which the teacher can read.

    Raises
    ------
    InputError
        If an id is not in its vocabulary, or a row has no target or more tokens than positions.
    """
    rows = np.array(load_shard(path)[:512])
    if not 2 <= rows.shape[1] <= positions:
        raise InputError(
            f"{path} must hold rows of 2 to {positions} tokens, not {rows.shape[1]}"
        )
    if int(rows.max()) >= vocabulary:
        raise InputError(f"{path} must hold ids below {vocabulary}, not {rows.max()}")
    return rows


def _score(losses: Tensor, text: Text, window: int) -> dict[str, float]:
    result = Perplexity.of(losses, window)
    per_byte = result.bits_per_byte(text.bytes / len(text.student))
    return {"perplexity": round(result.perplexity, 4), "bits_per_byte": round(per_byte, 5)}


def score_teacher(teacher: Teacher, text: Text, device: str) -> dict[str, float]:
    """Return the teacher's figures on the same text with its own tokens, in windows of 384.

    ``perplexity_per_student_token`` spreads its bits over the student's tokens; the first token of
    a window is not predicted, and bytes are counted in proportion.
    """
    result = perplexity(
        teacher.logits, text.teacher, window=TEACHER_WINDOW, batch=4, device=device
    )
    per_byte = result.bits_per_byte(text.bytes / len(text.teacher))
    per_token = per_byte * math.log(2) * text.bytes / len(text.student)
    return {
        "perplexity": round(result.perplexity, 4),
        "bits_per_byte": round(per_byte, 5),
        "perplexity_per_student_token": round(math.exp(per_token), 4),
    }


def score_text(
    models: dict[str, FbiLlm],
    teacher: Teacher,
    text: Text,
    window: int,
    device: str,
    part: Callable[..., Any],
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return all figures of a text, and the models' losses fp64 ``[windows]``.

    `part` is called for each model and the teacher, with what computes its figures, and what they
    depend on by keyword.
    """
    scores: dict[str, object] = {
        "bytes": text.bytes,
        "student_tokens": len(text.student),
        "teacher_tokens": len(text.teacher),
        "student_bytes_per_token": round(text.bytes / len(text.student), 4),
        "teacher_bytes_per_token": round(text.bytes / len(text.teacher), 4),
    }
    of = {"tokens": tokens_hash(text.student), "window": window}

    def losses_of(logits: Logits) -> list[float]:
        return window_losses(logits, text.student, window=window, device=device).tolist()

    losses = {
        name: torch.tensor(part(name, partial(losses_of, model), **of), dtype=torch.float64)
        for name, model in models.items()
    }
    scores |= {name: _score(values, text, window) for name, values in losses.items()}
    if len(losses) == 2:
        scores["fbi_over_twin"] = ratio(losses["fbi"], losses["twin"])
    size = next(iter(models.values())).config.vocab_size
    head = teacher.embedding[:size].t()

    def of_teacher() -> tuple[Scores, list[float]]:
        return score_teacher(teacher, text, device), losses_of(lambda t: teacher(t) @ head)

    scores["teacher"], restricted = part(
        "teacher", of_teacher, **of, teacher_tokens=tokens_hash(text.teacher), bytes=text.bytes,
        size=size,
    )  # fmt: skip
    restricted = torch.tensor(restricted, dtype=torch.float64)
    scores["teacher_restricted_to_cut"] = _score(restricted, text, window)
    return scores, losses


@torch.no_grad()
def score_rows(
    models: dict[str, Logits],
    teacher: Teacher,
    full: Vocabulary,
    rows: np.ndarray,
    size: int,
    context: int,
    device: str,
    part: Callable[[str, Callable[[], Scores]], Scores] = lambda who, compute: compute(),
) -> dict[str, Scores]:
    """Return perplexities per student token on rows uint16 ``[n, length]`` of teacher tokens.

    `part` is called for each model and the teacher, with what computes its scores.
    """
    table, count = pieces(full, size)
    pieces_of = torch.from_numpy(table.astype(np.int64)).to(device)
    counts = torch.from_numpy(count).to(device)
    split = [some.to(device) for some in torch.from_numpy(rows.astype(np.int64)).split(16)]

    def score(logits: Logits) -> Scores:
        nats, tokens = 0.0, 0
        for some in split:
            batch = expand(some, pieces_of, counts, context)
            flat = batch.target.flatten()
            scores = logits(batch.tokens).float().flatten(0, 1)
            nats += float(F.cross_entropy(scores, flat, ignore_index=-1, reduction="sum"))
            tokens += int((flat >= 0).sum())
        return {"perplexity": round(math.exp(nats / tokens), 4)}

    def score_of_teacher() -> Scores:
        nats, spelled = 0.0, 0
        for some in split:
            scores = teacher.logits(some)[:, :-1].float().flatten(0, 1)
            nats += float(F.cross_entropy(scores, some[:, 1:].flatten(), reduction="sum"))
            spelled += int(counts[some[:, 1:]].sum())
        return {"perplexity_per_student_token": round(math.exp(nats / spelled), 4)}

    result = {name: part(name, partial(score, logits)) for name, logits in models.items()}
    return {**result, "teacher": part("teacher", score_of_teacher)}


def uncached(logits: Logits, device: str) -> Callable[[Tensor, object], Tensor]:
    """Return a decoder for `golden.generate`: it keeps the tokens and computes all of them anew."""
    seen: list[Tensor] = []

    def decode(tokens: Tensor, _: object) -> Tensor:
        seen.append(tokens)
        return logits(torch.cat(seen, dim=1).to(device))[:, -1:].cpu()

    return decode


def samples(model: FbiLlm, cut: Tokenizer, device: str, new_tokens: int) -> str:
    """Continue each of `PROMPTS`, greedily and drawn, and return the text."""
    end = cut.token_to_id(END_OF_TEXT)
    parts = []
    for prompt in PROMPTS:
        ids = [end, *cut.encode(prompt, add_special_tokens=False).ids]
        for label, temperature, top_p in (("greedy", 0.0, 1.0), *DRAWN):
            new = generate(
                uncached(model, device),
                ids,
                new_tokens,
                temperature=temperature,
                top_p=top_p,
                stop=frozenset({end}),
            )
            parts.append(f"[{label}] {prompt}|{cut.decode(list(new))}\n")
    return "\n".join(parts)


@click.command()
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="GGUF file.")
@click.option("--packed", type=click.Path(path_type=Path), help="The FBI-LLM's packed folder.")
@click.option("--twin", type=click.Path(path_type=Path), help="The twin's run folder.")
@click.option("--slices", type=click.Path(path_type=Path), required=True, help="*.utf8 texts.")
@click.option("--held-out", type=click.Path(path_type=Path), help="Sampled shard not trained on.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--tokens", default=65536, show_default=True, help="Student tokens of each text.")
@click.option("--new-tokens", default=150, show_default=True, help="Length of a sample.")
@told()
def main(
    teacher: Path,
    packed: Path | None,
    twin: Path | None,
    slices: Path,
    held_out: Path | None,
    out: Path,
    tokens: int,
    new_tokens: int,
) -> None:
    """Write eval.json, losses-fbi.json and losses-twin.json, and samples.txt of the first."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if packed is None and twin is None:
        raise InputError("a model is needed: --packed, --twin or both; there is none")
    models: dict[str, FbiLlm] = {}
    if packed is not None:
        models["fbi"] = load_float(packed).to(device)
    if twin is not None:
        models["twin"] = load_trained(twin).to(device)
    student = next(iter(models.values()))
    for key in ("vocab_size", "max_position_embeddings"):
        sizes = [getattr(model.config, key) for model in models.values()]
        if len(set(sizes)) > 1:
            raise InputError(f"both models must have one {key}, not {sizes[0]} and {sizes[1]}")
    large = load_teacher(teacher).to(device)
    full = read_vocabulary(teacher)
    cut = full.cut(student.config.vocab_size).build() if packed is None else load_tokenizer(
        packed)  # fmt: skip
    config = student.config
    window = config.max_position_embeddings
    # all that is read is read, and refused, before anything is computed
    texts = read_texts(slices, cut, full.build(), tokens, window)
    rows = read_rows(held_out, len(full.tokens), len(large.cos)) if held_out else None
    for prompt in PROMPTS:
        check_room(config, 1 + len(encoded(cut, prompt, add_special_tokens=False)), new_tokens)
    hashes = {name: model_hash(model, model.config.to_dict()) for name, model in models.items()}
    hashes["teacher"] = model_hash(large, asdict(large.config))
    kept = Kept(
        out / "eval-parts.json",
        {"device": device, "torch": torch.__version__, "code": code_hash()}, click.echo,
    )  # fmt: skip
    result: dict[str, object] = {"window": window, "dtype": "float32", "device": device}
    if twin is not None and (state := read_state(checkpoints(twin)[-1])).get(COMPACT):
        # of a machine that is gone: its weights are rounded, those of a packed model are not
        result["twin_weights"] = {"step": state["step"], **state[COMPACT]["lost"]}

    def part(where: str, who: str, compute: Callable[[], Any], **of: object) -> Any:
        return kept.part(f"{where}, {who}", {"model": hashes[who], **of}, compute)

    with made_folder(out):
        written = part(
            "samples.txt", next(iter(models)), lambda: samples(student, cut, device, new_tokens),
            tokenizer=hashlib.sha256(cut.to_str().encode()).hexdigest(), new_tokens=new_tokens,
            prompts=PROMPTS,
        )  # fmt: skip
        write_text(out / "samples.txt", written)
        measured = {name: {} for name in models}
        for title, text in texts.items():
            scores, losses = score_text(models, large, text, window, device, partial(part, title))
            for name, values in losses.items():
                measured[name][title] = TextLosses.of(text.student, values)
            result[title] = scores
            click.echo(f"{title}: {json.dumps(scores)}")
        for name, texts_of in measured.items():
            WindowLosses(name, window, texts_of).write(out / f"losses-{name}.json")
        if rows is not None:
            of = {
                "rows": tokens_hash(torch.from_numpy(rows.astype(np.int64))),
                "length": rows.shape[1], "vocabulary": vocabulary_hash(full),
                "size": config.vocab_size, "window": window,
            }  # fmt: skip
            result["held_out_sampled"] = score_rows(
                models, large, full, rows, config.vocab_size, window, device,
                partial(part, "held_out_sampled", **of),
            )  # fmt: skip
            click.echo(json.dumps(result["held_out_sampled"]))
        write_text(out / "eval.json", json.dumps(result, indent=1) + "\n")
    kept.remove()


if __name__ == "__main__":
    main()
