"""Derived figures against arithmetic by hand."""

import pytest

from golden.config import named_model
from signacc.baseline.work import decode_flops, weights_used
from signacc.compare.figures import Entry, Figure, Roof
from sim.interval import Interval


def entry(mark="modelled", joules=Interval(0.5, 1.0, 2.0)):  # noqa: B008 - immutable
    return Entry(
        machine="m", ours=True, batch=4, context=8, weights=600,
        tokens_per_second=Figure(Interval(10.0, 20.0, 40.0), mark),
        joule_per_token=None if joules is None else Figure(joules, mark),
        roof=Roof(operations=1, bytes=100, bytes_per_second=1000.0, operations_per_second=None,
                  mark="published", source="s"),
        provenance={},
    )  # fmt: skip


def test_derived_figures_by_hand():
    one = entry()
    assert one.tokens_per_second_per_watt.value == Interval(0.5, 1.0, 2.0)
    # a step makes 4 tokens: 4/40, 4/20, 4/10 s
    assert one.energy_delay_js.value == Interval(0.05, 0.2, 0.8)
    assert one.weights_per_joule.value == Interval(300, 600, 1200)
    # 10 steps a second at most, 40 tokens
    assert one.limit_share.value == Interval(0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("mark", "follows"),
    [("modelled", "modelled"), ("measured", "derived"), ("published", "derived")],
)
def test_what_follows_from_a_figure_says_so(mark, follows):
    assert entry(mark).limit_share.mark == follows
    assert entry(mark).weights_per_joule.mark == follows


def test_without_an_energy_nothing_is_made_up():
    data = entry(joules=None).to_dict()
    for name in ("joule_per_token", "tokens_per_second_per_watt", "energy_delay_js",
                 "weights_per_joule", "linear_cycles"):  # fmt: skip
        assert data[name] is None
    assert data["tokens_per_second"] == {
        "low": 10.0, "nominal": 20.0, "high": 40.0, "mark": "modelled"
    }


def test_an_unknown_mark_is_refused():
    with pytest.raises(ValueError, match=r"mark must be one of measured, .* not 'guessed'"):
        Figure(Interval.exactly(1), "guessed")


def test_work_of_the_7b_by_hand():
    model = named_model("fbi-7b")
    weights = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 32000 * 4096
    assert weights_used(model) == weights
    # scores and values: a multiply and an add each, for 32 layers of 4096
    assert decode_flops(model, 2, 100) == 2 * (2 * weights + 2 * 2 * 32 * 4096 * 100)
