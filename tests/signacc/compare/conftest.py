"""A comparison from fixed data: one board, and baselines that win, lose and lack figures."""

import json

import pytest

from golden.config import named_model
from signacc.compare.comparison import compare
from sim.baselines import SCHEMA, SCHEMA_MEASURED
from sim.system import named_system

MODEL = "fbi-43m"


def baseline(**changes):
    """Return a legal baseline of MODEL at batch 1, context 128."""
    return {
        "name": "gpu", "model": MODEL, "batch": 1, "context": 128, "tokens_per_second": 5000.0,
        "joule_per_token": 0.05, "mark": "measured", "source": "a <test> GPU & nothing else",
        "command": "python bench.py", "date": "2026-01-31",
    } | changes  # fmt: skip


ENTRIES = (
    baseline(),
    baseline(batch=4, tokens_per_second=100.0),
    baseline(name="frugal", tokens_per_second=10.0, joule_per_token=1e-6),
    baseline(name="silent", batch=4, joule_per_token=None, mark="published", command=None,
             date=None),
    baseline(name="peer", model="someone-else", mark="published", joule_per_token=None,
             context=None),
    baseline(name="reader", phase="prefill", tokens_per_second=2560.0, joule_per_token=None),
    baseline(name="reader", phase="prefill", batch=4, tokens_per_second=1e-3),
)  # fmt: skip


def write(path, entries=ENTRIES):
    """Write a baselines file; return its path."""
    path.write_text(json.dumps({"schema": SCHEMA, "baselines": list(entries)}), encoding="utf-8")
    return path


def write_measured(path, entries, **changes):
    """Write a baselines file as `signacc baseline` does; return its path."""
    provenance = {
        "gpu": "NVIDIA L4", "driver": "580.1", "versions": {"torch": "2.11.0"},
        "command": "signacc baseline -o own.json", "date": "2026-01-31", "energy_source": None,
        "idle_watts": None, "copy_bytes_per_second": 2.5e11, "matmul_flop_per_second": 9e13,
    } | changes
    content = {"schema": SCHEMA_MEASURED, "provenance": provenance, "baselines": list(entries),
               "gaps": []}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def own_file(tmp_path_factory):
    """Return a baselines file."""
    return write(tmp_path_factory.mktemp("baselines") / "own.json")


def compared(own_file, phase):
    """Compare kv260 and tiny (too small) with the baselines of the file."""
    systems = [named_system("kv260"), named_system("tiny")]
    return compare(
        MODEL, named_model(MODEL), systems, batches=(4, 1), contexts=(128,), phase=phase,
        files=[own_file],
    )


@pytest.fixture(scope="session")
def result(own_file):
    """Return the comparison of decoding."""
    return compared(own_file, "decode")


@pytest.fixture(scope="session")
def prefill(own_file):
    """Return the comparison of prefill: a baseline that wins without energy, one that loses."""
    return compared(own_file, "prefill")
