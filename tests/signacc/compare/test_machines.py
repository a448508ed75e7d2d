"""Which machine a name means: public facts of one must not become another's."""

import pytest

from signacc.compare.figures import MARKS
from signacc.compare.machines import facts_of


@pytest.mark.parametrize(
    ("machine", "prefix"),
    [
        ("h200", "h200"), ("h200-bf16", "h200"), ("kv260_a8", "kv260"), ("kv260", "kv260"),
        ("h200x8-bf16", None), ("h2000", None), ("gh200-bf16", None), ("H200", None), ("", None),
    ],
)  # fmt: skip
def test_a_prefix_is_a_whole_word(machine, prefix):
    facts = facts_of(machine)
    assert (None if facts is None else facts.prefix) == prefix


def test_a_figure_has_its_source():
    for facts in map(facts_of, ("h200", "kv260")):
        assert (facts.cost is None) == (facts.cost_source is None) == (facts.cost_mark is None)
        known = facts.peak_gb_s is not None or facts.peak_tera_operations_s is not None
        assert known == (facts.peak_source is not None)


def test_what_was_not_read_at_its_source_is_not_marked_published():
    """The kit's price was quoted from memory, and marked ``published`` all the same."""
    for facts in map(facts_of, ("h200", "kv260")):
        assert facts.cost_mark in MARKS
        assert (facts.cost_mark == "unverified") == ("from memory" in facts.cost_source)
