"""Scoring of choices, against sums made token by token without batches."""

import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from golden.errors import InputError
from model.tasks import Item
from model.zero_shot import Accuracy, encode_pair, zero_shot

WORDS = ["#", "a", "b", "c", "d", " a", " b", " c", " d", " ", "e"]


@pytest.fixture(scope="module")
def tokenizer():
    """Letters, and letters with the space before them: tokens 1 to 4 and 5 to 8."""
    merges = [(" ", letter) for letter in "abcd"]
    made = Tokenizer(models.BPE({w: i for i, w in enumerate(WORDS)}, merges))
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    return made


class Causal:
    """Logits of a position depend on all tokens up to it; the rest does not matter."""

    def __init__(self, seed=0):
        random = torch.Generator().manual_seed(seed)
        self.table = torch.randn(len(WORDS), len(WORDS), generator=random, dtype=torch.float64)
        self.seen = []

    def __call__(self, tokens):
        self.seen += tokens.tolist()
        weight = 0.7 ** torch.arange(tokens.shape[1], dtype=torch.float64)
        logits = self.table[tokens]
        past = [
            (logits[:, : i + 1] * weight[: i + 1].flip(0)[:, None]).sum(1)
            for i in range(tokens.shape[1])
        ]
        return torch.stack(past, dim=1)


def by_hand(model, ids, count):
    """Return the last `count` ids' sum of log-probabilities, and whether all are likeliest."""
    total, greedy = 0.0, True
    for place in range(len(ids) - count, len(ids)):
        logp = model(torch.tensor([ids[:place]]))[0, -1].log_softmax(-1)
        total += float(logp[ids[place]])
        greedy &= int(logp.argmax()) == ids[place]
    return total, greedy


def items(seed, count=40):
    random = torch.Generator().manual_seed(seed)

    def text(low, high):
        length = int(torch.randint(low, high, (1,), generator=random))
        return "".join(
            " " + "abcd"[int(torch.randint(4, (1,), generator=random))] for _ in range(length)
        )

    made = []
    for _ in range(count):
        context = "a" + text(0, 9)
        made.append(Item((context,) * 3, tuple(text(1, 5) for _ in range(3)), 1))
    return made


@pytest.mark.parametrize("begin", [None, 0])
@pytest.mark.parametrize("batch_tokens", [1, 16, 1000])
def test_answers_are_those_by_hand(tokenizer, batch_tokens, begin):
    questions = items(seed=1)
    model = Causal()
    right = right_norm = 0
    for item in questions:
        sums, norms = [], []
        for before, after in zip(item.contexts, item.continuations, strict=True):
            ids = tokenizer.encode(before + after).ids
            ids = ids if begin is None else [begin, *ids]
            total, _ = by_hand(model, ids, len(after) // 2)
            sums.append(total)
            norms.append(total / (len(after) - 1))
        right += sums.index(max(sums)) == item.gold
        right_norm += norms.index(max(norms)) == item.gold
    assert right != right_norm  # or one could stand for the other
    found = zero_shot(
        model, tokenizer, questions, context=64, begin=begin, batch_tokens=batch_tokens
    )
    assert (found.acc, found.acc_norm) == (right / 40, right_norm / 40)
    assert found.acc_stderr == pytest.approx(math.sqrt(found.acc * (1 - found.acc) / 39))
    assert (found.items, found.truncated) == (40, 0)


def test_one_choice_is_greedy_decoding(tokenizer):
    model = Causal(seed=3)
    model.table[:, [0, 1, 2, 3, 4, 9, 10]] = -9  # a letter with its space is likeliest
    contexts = ["a" + " b" * i + " c" * j for i in range(4) for j in range(4)]
    questions, right = [], 0
    for context in contexts:
        ids = tokenizer.encode(context).ids
        for word in (" a", " b", " c", " d", *(f" {x} {y}" for x in "abcd" for y in "abcd")):
            both = ids + tokenizer.encode(word).ids
            right += by_hand(model, both, len(both) - len(ids))[1]
            questions.append(Item((context,), (word,), 0))
    assert 0 < right < len(questions)
    found = zero_shot(model, tokenizer, questions, context=64)
    assert found.acc == found.acc_norm == right / len(questions)


def test_spaces_go_to_the_continuation(tokenizer):
    assert encode_pair(tokenizer, "a b", " c") == ([1, 6, 7], 1)
    assert encode_pair(tokenizer, "a b ", "c") == ([1, 6, 7], 1)


def test_what_is_read_alike_is_read_once(tokenizer):
    model = Causal()
    zero_shot(model, tokenizer, [Item(("a b",) * 3, (" a", " b", " c"), 0)], context=64)
    assert model.seen == [[1, 6]]


def test_a_long_context_loses_its_head(tokenizer):
    """With room for 6 tokens: the last 6 of the text, or 5 and the beginning."""
    context, model = "a" + " b c d" * 4, Causal()
    questions = [Item((context,) * 2, (" a b", " c"), 0)]
    for begin, kept in ((None, 6), (0, 5)):
        model.seen = []
        found = zero_shot(model, tokenizer, questions, context=6, begin=begin)
        head = [] if begin is None else [begin]
        whole = [tokenizer.encode(context + after).ids for after in (" a b", " c")]
        assert found.truncated == 2
        assert sorted(model.seen) == sorted(head + ids[-kept - 1 : -1] for ids in whole)
        sums = [
            by_hand(model, head + ids[-kept - 1 :], count)[0]
            for ids, count in zip(whole, (2, 1), strict=True)
        ]
        assert found.acc == (sums[0] > sums[1])


def test_progress_comes_to_its_end(tokenizer):
    steps = []
    zero_shot(Causal(), tokenizer, items(seed=2, count=4), context=64, batch_tokens=20,
              step=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1]
    assert len(steps) > 1


def test_what_is_refused(tokenizer):
    with pytest.raises(InputError, match="at least one question"):
        zero_shot(Causal(), tokenizer, [], context=8)
    with pytest.raises(InputError, match="a continuation must be of 1 to 3 tokens, not 4"):
        zero_shot(Causal(), tokenizer, [Item(("a",) * 2, (" b b b b", " c"), 0)], context=3)


def test_result_as_a_dictionary():
    result = Accuracy(3, 0.5, 0.25, 0.1, 0.2, 0)
    assert Accuracy(**result.to_dict()) == result
