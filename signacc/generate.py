"""Text from a model folder: what the command ``generate`` does and prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from golden.generate import check_room, generate, load_tokenizer, prompt_tokens, stream_text
from signacc.models import load_model


def generate_text(
    folder: Path,
    *,
    prompt: str,
    write: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop: tuple[str, ...],
    arithmetic: str,
    as_json: bool,
) -> None:
    """Print the prompt and the text that continues it as it comes, or all of it as JSON.

    The JSON says which tokens were written and what ended them: ``stop`` (one of the texts in
    `stop`), ``end`` (the model's token for it) or ``count``.

    Raises
    ------
    InputError
        If the model cannot be read, or a parameter breaks its rule.
    """
    model = load_model(folder, arithmetic)
    tokenizer = load_tokenizer(folder, model.config)
    tokens = prompt_tokens(tokenizer, model.config, prompt)
    check_room(model.config, len(tokens), write)
    end = model.config.eos_token_id
    written: list[int] = []
    all_taken = False

    def kept() -> Iterator[int]:
        nonlocal all_taken
        for token in generate(
            model,
            tokens,
            write,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop=frozenset([] if end is None else [end]),
        ):
            written.append(token)
            yield token
        all_taken = True

    pieces = stream_text(tokenizer, tokens, kept(), stop=stop)
    if as_json:
        text = "".join(pieces)
        ended = "stop" if not all_taken else "count" if len(written) == write else "end"
        click.echo(json.dumps(
            {"arithmetic": arithmetic, "seed": seed, "prompt_tokens": tokens, "tokens": written,
             "text": text, "ended_by": ended}
        ))
        return
    first = next(pieces, "")  # a parameter that breaks its rule is told before anything is shown
    click.echo(tokenizer.decode(tokens) + first, nl=False)
    for piece in pieces:
        click.echo(piece, nl=False)
    click.echo()
