"""Figures, errors and medians."""

import json
from dataclasses import replace
from statistics import median

import pytest

from sim.errors import InputError
from sim.interval import Interval
from sim.validation import AIM, Row, compare, load_designs, load_figures, summary

FIGURES = load_figures()
ROWS = compare()


def test_every_design_has_a_figure():
    assert {figure.design for figure in FIGURES} == {design.name for design in load_designs()}
    keys = [(f.design, f.run, f.quantity) for f in FIGURES]
    assert len(set(keys)) == len(keys)


def test_every_miss_is_explained_and_nothing_else():
    for row in ROWS:
        assert row.missed == bool(row.figure.why), row.figure


def test_the_aim_is_met_for_speed():
    rates = summary(ROWS, rates=True)
    assert rates.families >= 5
    assert rates.median_error <= AIM
    assert rates.median_family_error <= AIM


def row(design, published, predicted, quantity="tokens_per_second"):
    figure = replace(FIGURES[0], value=published, quantity=quantity)
    return Row(design=design, figure=figure, predicted=Interval(*predicted))


def test_medians_by_hand():
    one, two = load_designs()[0], replace(load_designs()[0], family="another")
    rows = [
        row(one, 10, (9, 11, 12)),  # +10 %
        row(one, 10, (1, 5, 8)),  # -50 %, outside
        row(one, 10, (10, 13, 20)),  # +30 %
        row(two, 10, (9, 10.5, 12)),  # +5 %
        row(two, 10, (9, 20, 25), "power_w"),
    ]
    assert [f"{r.error:+.2f}" for r in rows] == ["+0.10", "-0.50", "+0.30", "+0.05", "+1.00"]
    assert [r.missed for r in rows] == [False, True, True, False, True]
    assert [r.inside for r in rows] == [True, False, True, True, True]
    found = summary(rows, rates=True)
    assert (found.figures, found.families, found.misses, found.inside) == (4, 2, 2, 3)
    assert found.median_error == pytest.approx(median([0.1, 0.5, 0.3, 0.05]))
    assert found.median_family_error == pytest.approx((0.3 + 0.05) / 2)
    assert summary(rows, rates=False).median_error == pytest.approx(1)
    assert summary(rows).figures == 5
    assert summary(rows).median_error == pytest.approx(0.3)
    with pytest.raises(InputError, match="a summary needs at least one row"):
        summary([], rates=True)


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"a figure's design must be one of .*, not 'abacus'"):
        compare(figures=[replace(FIGURES[0], design="abacus")])
    with pytest.raises(InputError, match=r"a figure of li-kv260 must be of decode .*, not nap"):
        compare(figures=[replace(FIGURES[0], run="nap")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 0}, "value of a figure must be a number above 0, not 0"),
        ({"value": True}, "value of a figure must be a number above 0, not True"),
        ({"method": "guessed"}, "method of a figure must be one of measured, .*, not 'guessed'"),
        ({"read": "third"}, "read of a figure must be one of primary, secondary, not 'third'"),
        ({"quantity": "joy"}, "quantity of a figure must be one of tokens_per_second"),
        ({"source": " "}, "source of a figure must be a text, not ' '"),
        ({"why": 3}, "why of a figure must be a text, not 3"),
    ],
)
def test_bad_figures_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(FIGURES[0], **change)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"schema": "x", "figures": []}, "line 1: schema must be 'signacc-published-1', not 'x'"),
        ({"schema": "signacc-published-1", "figures": {}}, "figures must be a list"),
        ({"schema": "signacc-published-1", "figures": [3]}, r"figures\[0\] must be a JSON object"),
        (
            {"schema": "signacc-published-1", "figures": [{"mark": 1}]},
            r"figures\[0\]: keys must be among design, .*, not mark",
        ),
        (
            {"schema": "signacc-published-1", "figures": [{"design": "x"}]},
            r"figures\[0\]: run must be given",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, data, message):
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        load_figures(path)
