import pytest
from rich.console import Console

from signacc import report
from signacc.report import _bar, quantity, si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"), (1, "1 s"), (999.4, "999 s"), (999.6, "1 ks"), (0.00123, "1.23 ms"),
        (4.2e-12, "4.2 ps"), (1e-15, "0.001 ps"), (1.5e9, "1.5 Gs"), (2e15, "2e+03 Ts"),
    ],
)
def test_si(value, text):
    assert si(value, "s") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123456, "0.0123"), (999.4, "999"), (999.5, "1,000"), (999.96, "1,000"),
        (1000.4, "1,000"), (1234567.8, "1,234,568"),
    ],
)
def test_quantity(value, text):
    assert quantity(value) == text


def test_a_timeline_has_each_bound_for_its_share():
    operators = [
        {"phase": "decode", "time_s": 3.0, "bound_by": "array"},
        {"phase": "decode", "time_s": 1.0, "bound_by": "memory"},
        {"phase": "prefill", "time_s": 9.0, "bound_by": "link"},
    ]
    assert _bar({"operators": operators}, {"name": "decode"}) == "a" * 38 + "m" * 12
    assert _bar({"operators": operators}, {"name": "prefill"}) == "l" * 50


def test_no_name_of_a_sweep_is_cut_off(monkeypatch, capsys):
    """Two memories whose names begin alike were the same "lpddr5…" in 80 columns."""
    monkeypatch.setattr(report, "out", Console(width=80, highlight=False))
    memories = ("lpddr5-6400-x32", "lpddr5-6400-x128")
    metrics = {"tokens_per_second": 55.4, "joules_per_token": 0.112, "watts": 6.23, "usd": 166,
               "lut": 274_944, "lut_mark": "modelled"}
    front = [
        {"design": {"memory": memory, "structure": f"shared{i}", "k_par": 64 << i, "n_par": 16 << i,
                    "m_par": 1 + i}, "metrics": metrics}
        for i, memory in enumerate(memories)
    ]
    report.explore_table({
        "designs": 2, "pruned": {}, "evaluated": 2, "resumed": 0, "refused": 0, "feasible": 2,
        "refusals": [], "front": front, "objectives": ["usd"], "space": "boards",
    })
    lines = capsys.readouterr().out.splitlines()
    first = "".join(line[1:].split("  ")[0].strip() for line in lines[4:])
    for memory in memories:
        assert memory in first, lines
    assert sum("274,944 r" in line for line in lines) == 2
    assert not any("…" in line for line in lines)
