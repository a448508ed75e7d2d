"""signacc compare: what it prints and writes, and bad input in one sentence with exit code 2."""

import json
import os
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from signacc.cli import main

from .conftest import MODEL, baseline, write

POINT = ("--model", MODEL, "--batch", "1,4", "--context", "128", "--preset", "kv260")


def invoke(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for part in parts:
        assert part in result.stderr.strip().splitlines()[-1]


def test_json_is_the_whole_answer(own_file):
    result = invoke(*POINT, "--baselines", own_file, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert {entry["machine"] for entry in data["entries"]} == {"kv260", "gpu", "frugal", "silent"}
    assert data["batches"] == [1, 4]


def test_no_baseline_at_all_is_said_and_is_no_zero(capsys):
    result = invoke(*POINT, "--json")
    data = json.loads(result.stdout)
    assert data["verdicts"] == []
    assert {entry["reason"] for entry in data["absent"]} == {"no baseline for this point"}


def test_contexts_that_nobody_asked_for_fit_the_model(tmp_path):
    """The shipped model goes to 512; a folder's may go to less than the least default."""
    assert json.loads(invoke("--model", MODEL, "--json").stdout)["contexts"] == [128, 512]
    shape = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "vocab_size": 100,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 16,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(shape))
    result = invoke("--model", tmp_path, "--batch", 1, "--preset", "tiny", "--json")
    assert json.loads(result.stdout)["contexts"] == [16]


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([baseline(model="fbi-43M")], "has no figure of fbi-43m; it has fbi-43M"),
        ([], "has no figure of fbi-43m; it has no figure at all"),
        ([baseline(batch=2), baseline(context=64)],
         "has no figure at these points (batch x context); it has 1x64, 2x128"),
        ([baseline(), baseline(batch=2)], None),
    ],
)
def test_a_file_that_has_nothing_for_the_comparison_is_named(tmp_path, entries, text):
    """A misspelt model would otherwise be a file that nobody notices is not there."""
    path = write(tmp_path / "own.json", entries)
    result = invoke(*POINT, "--baselines", path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["model"] == MODEL
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert notes == ([] if text is None else [f"note: {path} {text}"])


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--model", "gpt-9"), ("gpt-9",)),
        (("--preset", "nothing"), ("a system is one of", "'nothing'")),
        (("--preset", "kv260", "--preset", "kv260"), ("given once, not kv260 again",)),
        (("--batch", "1,x"), ("--batch must be integers of at least 1", "'1,x'")),
        (("--batch", "0"), ("--batch", "'0'")),
        (("--batch", "1,65537"), ("--batch must be at most 65,536 sequences", "not 65537")),
        (("--batch", "²"), ("--batch must be integers", "'²'")),
        (("--context", "9" * 30), ("--context must be integers of at least 1", "'999")),
        (("--context", ""), ("--context must not be empty",)),
        (("--context", "4096"), ("max_position_embeddings = 2048", "not 4096")),
        (("--baselines", "/no/such.json"), ("cannot read /no/such.json",)),
        (("--system", "/no/such.json"), ("cannot read /no/such.json",)),
    ],
)
def test_bad_input(options, parts):
    refused(invoke(*options), *parts)


def test_an_impossible_baseline_is_refused_and_nothing_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    path = write(tmp_path / "own.json", [baseline(tokens_per_second=-3)])
    out = tmp_path / "out"
    refused(invoke(*POINT, "--baselines", path, "--out", out),
            "baselines[0]: tokens_per_second", "-3")  # fmt: skip
    assert not out.exists()


def test_a_baseline_is_not_called_like_a_machine_of_ours(tmp_path):
    """Their rows, bars and verdicts could not be told apart."""
    named = "the name of a baseline must not be that of a system it is compared with, kv260"
    path = write(tmp_path / "own.json", [baseline(name="kv260")])
    refused(invoke(*POINT, "--baselines", path), named)
    path = write(tmp_path / "own.json", [baseline(name="kv260", phase="prefill")])
    refused(invoke(*POINT, "--baselines", path), named)
    path = write(tmp_path / "own.json", [baseline(name="kv260", path="bf16")])
    data = json.loads(invoke(*POINT, "--baselines", path, "--json").stdout)
    assert "kv260-bf16" in {entry["machine"] for entry in data["entries"]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_baselines_may_come_from_a_pipe(tmp_path):
    """Which can be read once."""
    content = write(tmp_path / "own.json", [baseline(name="piped")]).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    process = subprocess.run(
        [sys.executable, "-m", "signacc.cli", "compare", *POINT, "--baselines", str(pipe),
         "--json"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "piped" in {entry["machine"] for entry in json.loads(process.stdout)["entries"]}


def test_a_folder_of_another_shape_never_passes_for_a_known_model(tmp_path):
    folder = tmp_path / "fbi-7b"
    folder.mkdir()
    shape = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 100,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(shape))
    result = invoke("--model", folder, "--batch", 1, "--context", 512, "--preset", "tiny", "--json")
    data = json.loads(result.stdout)
    assert data["model"] == str(folder)
    assert {entry["machine"] for entry in data["entries"]} == {"tiny"}


def test_out_holds_json_and_plots(tmp_path, own_file):
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "out"
    result = invoke(*POINT, "--baselines", own_file, "--out", out)
    assert result.exit_code == 0, result.output
    names = [
        "bars.png", "compare.json", "crossover.png", "heat_map.png", "prefill.png", "roofline.png",
    ]
    assert sorted(path.name for path in out.iterdir()) == names
    assert json.loads((out / "compare.json").read_text())["model"] == MODEL
    assert f"wrote {out / 'bars.png'}" in result.stdout.replace("\n", "")
    # Nothing is judged without the file: plots of verdicts do not stay from the run before.
    assert invoke(*POINT, "--out", out).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        name for name in names if name not in ("crossover.png", "heat_map.png")
    ]


def test_without_matplotlib_plots_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(invoke(*POINT, "--out", tmp_path / "out"), "plots need matplotlib")
    assert not (tmp_path / "out").exists()


def test_html_is_one_page_with_all_plots(tmp_path, own_file):
    pytest.importorskip("matplotlib")
    page = tmp_path / "report.html"
    result = invoke(*POINT, "--baselines", own_file, "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 5
    assert "var(--series-0)" in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_page_in_no_folder_is_refused(tmp_path, own_file):
    pytest.importorskip("matplotlib")
    refused(invoke(*POINT, "--baselines", own_file, "--html", tmp_path / "no" / "page.html"),
            "the page's folder must exist")  # fmt: skip
