"""Text from a model: tokenizer, and sampling one token at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer

from .config import ModelConfig
from .errors import InputError
from .model import KVCache

Decoder = Callable[[torch.Tensor, KVCache], torch.Tensor]
"""Maps token ids [1, T] and a cache to logits [1, T, vocab]."""


def load_tokenizer(folder: str | Path, config: ModelConfig | None = None) -> Tokenizer:
    """Read ``tokenizer.json`` of a model folder, or a file of that kind itself.

    Parameters
    ----------
    config
        Of the model that it is for, whose vocabulary must hold all of its tokens.

    Raises
    ------
    InputError
        If there is none, or none that works, or it is of another vocabulary.
    """
    path = Path(folder)
    path = path if path.is_file() else path / "tokenizer.json"
    if not path.is_file():
        raise InputError(f"a model folder must hold tokenizer.json; there is none in {folder}")
    content = path.read_bytes()  # the path need not be UTF-8 text
    return parsed_tokenizer(content, config, where=str(path))


def parsed_tokenizer(content: bytes, config: ModelConfig | None, *, where: str) -> Tokenizer:
    """Return the tokenizer whose ``tokenizer.json`` is `content`; `where` names it in errors.

    See :func:`load_tokenizer`.
    """
    _check_merges(where, content)
    with _refusing(f"{where} must be a tokenizer of the tokenizers library"):
        tokenizer = Tokenizer.from_buffer(content)
    if config is not None:
        entries = tokenizer.get_vocab(with_added_tokens=True)
        largest = max(entries.values(), default=-1)
        if largest >= config.vocab_size:
            raise InputError(
                f"{where} must be of the model's vocabulary of {config.vocab_size} tokens; "
                f"it has a token {largest}"
            )
    return tokenizer


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn what the library raises, bare Exception and what Rust panics with, into InputError."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{what}: {error}") from None


def encoded(tokenizer: Tokenizer, text: str, **options: Any) -> Encoding:
    """Return ``tokenizer.encode(text, **options)``; InputError if it cannot spell the text."""
    with _refusing("the model's tokenizer must spell every text; it cannot"):
        return tokenizer.encode(text, **options)


def _check_merges(path: str, content: bytes) -> None:
    """Refuse merges at which the tokenizers library ends the whole process.

    It cuts the prefix of inner pieces (``continuing_subword_prefix``, of ASCII characters here) off
    the right part of every merge without looking whether it is there.
    """
    if not re.search(rb'"continuing_subword_prefix"\s*:\s*"[^"]', content):
        return
    try:
        model = json.loads(content)["model"]
        prefix, merges = model["continuing_subword_prefix"], model["merges"]
        pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges]
        bad = next((right for _, right in pairs if not right.startswith(prefix)), None)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # no merges, or none that the library takes
    if pairs and not prefix.isascii():
        raise InputError(f"{path}: continuing_subword_prefix must be ASCII, not {prefix!r}")
    if bad is not None:
        raise InputError(
            f"{path}: the right part of every merge must begin with continuing_subword_prefix "
            f"{prefix!r}, not be {bad!r}"
        )


def prompt_tokens(tokenizer: Tokenizer, config: ModelConfig, text: str) -> list[int]:
    """Return the token ids of a prompt, after the token that begins every text, if there is one.

    Raises
    ------
    InputError
        If `text` has no token, or is not text that UTF-8 can write.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"a prompt must be valid Unicode text: {error}") from None
    ids = encoded(tokenizer, text).ids
    if not ids:
        raise InputError("a prompt must have at least one token, not none")
    begin = config.bos_token_id
    return ids if begin is None or ids[0] == begin else [begin, *ids]


def check_room(config: ModelConfig, prompt_length: int, count: int) -> None:
    """Raise InputError unless a prompt and `count` written tokens fit the model's context.

    The last written token is not read by the model, so it needs no room.
    """
    total = prompt_length + count - 1
    if total > config.max_position_embeddings:
        raise InputError(
            f"prompt and text must fit the context of {config.max_position_embeddings} tokens, "
            f"not {total}"
        )


def generate(
    model: Decoder,
    prompt: list[int],
    count: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: frozenset[int] = frozenset(),
) -> Iterator[int]:
    """Yield up to `count` tokens that continue `prompt`.

    Parameters
    ----------
    temperature
        0 takes the likeliest token; above, logits are divided by it and a token is drawn.
    top_p
        Draw among the likeliest tokens that together hold this probability.
    seed
        Of the draws.
    stop
        Tokens that end the text; they are not yielded.

    Raises
    ------
    InputError
        When iteration starts: if the prompt is empty or a parameter is out of range. Later: if
        logits are not finite.
    """
    if not prompt:
        raise InputError("a prompt must have at least one token, not none")
    if count < 1:
        raise InputError(f"the count of tokens to write must be at least 1, not {count}")
    if not 0 <= temperature <= 100:
        raise InputError(f"temperature must be from 0 to 100, not {temperature}")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p must be above 0 and at most 1, not {top_p}")
    random = torch.Generator().manual_seed(seed)
    cache = KVCache()
    tokens = torch.tensor([prompt])
    for _ in range(count):
        logits = model(tokens, cache)[0, -1].double()
        token = _pick(logits, temperature, top_p, random)
        if token in stop:
            return
        yield token
        tokens = torch.tensor([[token]])


def stream_text(
    tokenizer: Tokenizer, prompt: list[int], tokens: Iterable[int], *, stop: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the text of `tokens` after that of `prompt`, piece by piece as they come.

    A piece never ends within a character. The first of the texts in `stop` ends it and is not
    yielded, whatever tokens it is spelled with; what may be the beginning of one is held back until
    the next token tells. No token is taken after the end.

    Raises
    ------
    InputError
        When iteration starts: if a text in `stop` is empty.
    """
    if "" in stop:
        raise InputError("a text that ends the writing must not be empty")
    written = list(prompt)
    before = len(tokenizer.decode(written))
    shown = 0
    text = ""
    for token in tokens:
        written.append(token)
        # Decoding all of it each time keeps characters of several tokens whole.
        text = tokenizer.decode(written)[before:]
        ends = [place for place in (text.find(s) for s in stop) if place >= 0]
        if ends:
            if min(ends) > shown:
                yield text[shown : min(ends)]
            return
        if text.endswith("\ufffd"):
            continue
        whole = len(text) - max((_overlap(text, s) for s in stop), default=0)
        if whole > shown:
            yield text[shown:whole]
            shown = whole
    if len(text) > shown:
        yield text[shown:]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest proper beginning of `stop` with which `text` ends."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((n for n in lengths if text.endswith(stop[:n])), 0)


def _pick(
    logits: torch.Tensor, temperature: float, top_p: float, random: torch.Generator
) -> int:
    if not logits.isfinite().all():
        raise InputError(
            "a model's logits must be finite, not NaN or infinite: its weights or scales overflow"
        )
    if temperature == 0:
        return int(logits.argmax())
    shares = ((logits - logits.max()) / temperature).softmax(dim=-1)  # no overflow near 0
    probability, order = shares.sort(descending=True, stable=True)
    # Keep the likeliest until top_p is reached; the first always stays.
    probability[probability.cumsum(0) - probability >= top_p] = 0
    return int(order[torch.multinomial(probability, 1, generator=random)])
