import pytest

from sim.errors import InputError
from sim.workload import Pass, decode_passes, prefill_passes


def test_a_prompt_by_hand():
    # 3 new tokens after 4: they attend to 5 + 6 + 7 positions; 4 are read from memory
    assert Pass.of([(3, 4, 1)]) == Pass(3, 18, 4, 1)
    assert Pass.of([(1, 9, 1)]) == Pass.decode(1, 10) == Pass(1, 10, 9, 1)
    assert Pass.decode(3, 10) == Pass.of([(1, 9, 1)] * 3)


def test_passes_add_up():
    assert Pass.of([(3, 4, 1), (1, 9, 1)]) == Pass.of([(3, 4, 1)]) + Pass.decode(1, 10)


def test_a_batch_beyond_a_pass_takes_several():
    assert [p.tokens for p in decode_passes(7, 5, 3)] == [3, 3, 1]
    assert sum((p for p in decode_passes(7, 5, 3)), Pass(0, 0, 0, 0)) == Pass.decode(7, 5)


def test_prompts_fill_passes_in_order():
    # two prompts of 5 in passes of 4: 4 | 1 + 3 | 2
    assert list(prefill_passes(2, 5, 4)) == [
        Pass.of([(4, 0, 0)]),
        Pass.of([(1, 4, 1), (3, 0, 0)]),
        Pass.of([(2, 3, 1)]),
    ]


@pytest.mark.parametrize("most", [1, 3, 64, 1000])
def test_a_prefill_is_whole_however_it_is_cut(most):
    passes = list(prefill_passes(3, 50, most))
    assert max(p.tokens for p in passes) <= most
    assert sum(p.tokens for p in passes) == 150
    assert sum(p.outputs for p in passes) == 3
    # every token attends to those before it and itself: 3 * 50 * 51 / 2
    assert sum(p.attended for p in passes) == 3 * 1275


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, None])
def test_bad_counts_are_refused(bad):
    with pytest.raises(InputError, match="batch must be an integer of at least 1, not"):
        list(decode_passes(bad, 5, 3))
    with pytest.raises(InputError, match="prompt must be an integer of at least 1, not"):
        list(prefill_passes(1, bad, 3))
