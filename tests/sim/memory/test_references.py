"""The closed forms against what others measured; misses are explained, not tuned away."""

import pytest

from sim.memory.references import REFERENCES


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.what)
def test_within_five_points_or_explained(reference):
    assert reference.source
    assert reference.mark in ("measured elsewhere", "published")
    close = abs(reference.ours - reference.theirs) <= 0.05
    assert close != bool(reference.note)


def test_most_are_close():
    close = [abs(r.ours - r.theirs) <= 0.05 for r in REFERENCES]
    assert sum(close) >= 6


def test_a_weight_stream_is_never_modelled_slower_than_what_was_achieved():
    # sequential and interleaved: what weights use. Theirs may be above by rounding alone.
    for reference in REFERENCES:
        if "sequential" in reference.what and "one bank group" not in reference.what:
            assert reference.ours > reference.theirs - 0.01, reference.what
