"""Measures a trained model, its twin and the teacher on the same text; writes samples.

    python -m model.measure --teacher FILE.gguf --packed run-fbi/packed --twin run-twin \\
        --slices slices --held-out corpus/held-out.npy --out results

`slices` holds ``*.utf8`` files of text that training has not seen. The packed model may have been
made elsewhere, and one of the two is enough: what the ratio needs is kept in
``losses-<model>.json`` (`model.loss_files`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from golden.errors import InputError
from golden.generate import check_room, encoded, generate, load_tokenizer

from .checkpoint import COMPACT, checkpoints, read_state
from .data import expand, load_shard
from .errors import told
from .evaluate import Logits, Perplexity, perplexity, ratio, window_losses
from .fbi import FbiLlm
from .files import write_text
from .loss_files import TextLosses, WindowLosses
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


@torch.no_grad()
def score_rows(
    models: dict[str, Logits],
    teacher: Teacher,
    full: Vocabulary,
    rows: np.ndarray,
    size: int,
    context: int,
    device: str,
) -> dict[str, dict[str, float]]:
    """Return perplexities per student token on rows uint16 ``[n, length]`` of teacher tokens."""
    table, count = pieces(full, size)
    pieces_of = torch.from_numpy(table.astype(np.int64)).to(device)
    counts = torch.from_numpy(count).to(device)
    total = dict.fromkeys(models, 0.0)
    tokens = 0
    teacher_nats, spelled = 0.0, 0
    for part in torch.from_numpy(rows.astype(np.int64)).split(16):
        part = part.to(device)
        batch = expand(part, pieces_of, counts, context)
        flat = batch.target.flatten()
        tokens += int((flat >= 0).sum())
        for name, logits in models.items():
            scores = logits(batch.tokens).float().flatten(0, 1)
            total[name] += float(F.cross_entropy(scores, flat, ignore_index=-1, reduction="sum"))
        scores = teacher.logits(part)[:, :-1].float().flatten(0, 1)
        teacher_nats += float(F.cross_entropy(scores, part[:, 1:].flatten(), reduction="sum"))
        spelled += int(counts[part[:, 1:]].sum())
    result = {n: {"perplexity": round(math.exp(v / tokens), 4)} for n, v in total.items()}
    result["teacher"] = {"perplexity_per_student_token": round(math.exp(teacher_nats / spelled), 4)}
    return result


def uncached(logits: Logits, device: str) -> Callable[[Tensor, object], Tensor]:
    """Return a decoder for `golden.generate`: it keeps the tokens and computes all of them anew."""
    seen: list[Tensor] = []

    def decode(tokens: Tensor, _: object) -> Tensor:
        seen.append(tokens)
        return logits(torch.cat(seen, dim=1).to(device))[:, -1:].cpu()

    return decode


def write_samples(model: FbiLlm, cut: Tokenizer, path: Path, device: str, new_tokens: int) -> None:
    """Continue each of `PROMPTS`, greedily and drawn, and write the text."""
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
    path.write_text("\n".join(parts), encoding="utf-8")


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
    out.mkdir(parents=True, exist_ok=True)
    write_samples(student, cut, out / "samples.txt", device, new_tokens)
    result: dict[str, object] = {"window": window, "dtype": "float32", "device": device}
    kept: dict[str, dict[str, TextLosses]] = {name: {} for name in models}
    if twin is not None and (state := read_state(checkpoints(twin)[-1])).get(COMPACT):
        # of a machine that is gone: its weights are rounded, those of a packed model are not
        result["twin_weights"] = {"step": state["step"], **state[COMPACT]["lost"]}
    for title, text in texts.items():
        scores: dict[str, object] = {
            "bytes": text.bytes,
            "student_tokens": len(text.student),
            "teacher_tokens": len(text.teacher),
            "student_bytes_per_token": round(text.bytes / len(text.student), 4),
            "teacher_bytes_per_token": round(text.bytes / len(text.teacher), 4),
        }
        losses = {
            name: window_losses(logits, text.student, window=window, device=device)
            for name, logits in models.items()
        }
        scores |= {name: _score(values, text, window) for name, values in losses.items()}
        for name, values in losses.items():
            kept[name][title] = TextLosses.of(text.student, values)
        if len(losses) == 2:
            scores["fbi_over_twin"] = ratio(losses["fbi"], losses["twin"])
        scores["teacher"] = score_teacher(large, text, device)
        rows_of_head = large.embedding[: config.vocab_size].t()
        restricted = window_losses(
            lambda t, head=rows_of_head: large(t) @ head, text.student, window=window,
            device=device,
        )  # fmt: skip
        scores["teacher_restricted_to_cut"] = _score(restricted, text, window)
        result[title] = scores
        click.echo(f"{title}: {json.dumps(scores)}")
    for name, texts_of in kept.items():
        WindowLosses(name, window, texts_of).write(out / f"losses-{name}.json")
    if rows is not None:
        result["held_out_sampled"] = score_rows(
            models, large, full, rows, config.vocab_size, window, device
        )
        click.echo(json.dumps(result["held_out_sampled"]))
    write_text(out / "eval.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
