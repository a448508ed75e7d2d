"""The step in one launch: compiled where NVRTC is, and run on a stand-in of the GPU on the CPU."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from golden.config import ModelConfig, named_model
from golden.errors import InputError
from golden.linear import fbi_linear
from signacc.baseline import nvrtc, weights
from signacc.baseline.errors import DeviceError
from signacc.baseline.packing import tile_order
from signacc.baseline.reference import Reference
from signacc.baseline.step import MARKS, PHASES, SKIPS, OneLaunch, StepShape, compile_step

from .grid_stand_in import GridStandIn, install

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    hidden_size=512, intermediate_size=768, num_hidden_layers=1, num_attention_heads=8,
    num_key_value_heads=4, vocab_size=60, max_position_embeddings=160,
)


class Case:
    """A random model with a cache, and its step; `last` is the new token's position."""

    def __init__(self, config, bits, blocks, last, seed, skip=()):
        torch.manual_seed(seed)
        self.config, self.bits, self.last, self.token = config, bits, last, 7
        self.frame = weights.random_frame(config, torch.float16, CPU)
        self.layers = [
            {p: (s := weights.random_signs(config, p, CPU), tile_order(s.packed))
             for p in weights.FUSED}
            for _ in range(config.num_hidden_layers)
        ]
        place = torch.arange(config.max_position_embeddings, dtype=torch.float64)
        d = torch.arange(0, config.head_dim, 2) / config.head_dim
        angle = place[:, None] * config.rope_theta ** -d.double()
        self.cos, self.sin = angle.cos().float(), angle.sin().float()
        shape = (1, config.num_key_value_heads, last + 3, config.head_dim)

        def rows():
            return [torch.randn(shape).half() for _ in range(config.num_hidden_layers)]

        self.cache = type("Cache", (), {})()
        self.cache.keys, self.cache.values = rows(), rows()
        self.before = [c[0].clone() for c in (self.cache.keys[0], self.cache.values[0])]
        self.step = OneLaunch(
            StepShape(config, bits, blocks), self.frame, self.layers, self.cos, self.sin, skip
        )

    def __call__(self):
        return self.step(torch.tensor([self.token]), self.cache, self.last, 0)

    def golden(self, part, x):
        """Return golden's linear of float16 x ``[K]``, as float16 numpy."""
        signs = self.layers[0][part][0]
        outputs, start = [], 0
        for i, rows in enumerate(signs.rows):
            outputs.append(fbi_linear(
                x[None], signs.packed[start : start + rows].numpy(), signs.alpha[i].numpy(),
                signs.beta[i].numpy(), act_bits=self.bits)[0])
            start += rows
        return np.concatenate(outputs)

    def require_near_float64(self, past):
        """Hold a step to plain float64, as the check of `signacc baseline` does."""
        path = SimpleNamespace(
            config=self.config, frame=self.frame, device=CPU,
            dense=lambda layer, part: weights.dense_of(self.layers[layer][part][0]),
        )
        cached = [[c[:, :, :past].clone() for c in side]
                  for side in (self.cache.keys, self.cache.values)]
        exact, plain = (
            Reference(path, dtype)(torch.tensor([[self.token]]), *cached).double()
            for dtype in (torch.float64, torch.float16)
        )
        assert (self() - exact).norm() < 2 * (plain - exact).norm()

    def norm(self, x, gain):
        """Return the normed float16 x, by float64."""
        wide = x.astype(np.float64)
        factor = 1 / np.sqrt(np.mean(wide**2) + self.config.rms_norm_eps)
        return (wide * factor * gain.numpy().astype(np.float64)).astype(np.float16)


def require_close(found, expected, what, share=0.99):
    """Nearly all equal, and none more than two units in the last place away."""
    found, expected = (np.asarray(a, np.float16) for a in (found, expected))
    far = np.abs(found.astype(np.float64) - expected) > 2 * np.spacing(np.abs(expected)).astype(
        np.float64)
    assert not far.any(), f"{what}: {far.sum()} of {far.size} are off, first {np.argmax(far)}"
    assert (found == expected).mean() >= share, f"{what}: {(found == expected).mean()} are equal"


@pytest.mark.parametrize(
    ("bits", "blocks", "last", "heads"),
    [
        (16, 9, 100, 8),  # three spans of a head would not fit: one; blocks with two sets of scales
        (8, 26, 100, 8),  # three spans, more blocks than tiles of some phases
        (8, 8, 0, 8),  # nothing is cached
        (16, 11, 130, 4),  # heads of 128, several batches of cached rows
    ],
)
def test_every_phase_is_goldens(monkeypatch, bits, blocks, last, heads):
    install(monkeypatch)
    case = Case(replace(CONFIG, num_attention_heads=heads, head_dim=512 // heads), bits, blocks,
                last, seed=last)
    logits = case()[0].numpy()
    c, s = case.config, case.step
    heads, kv, dim = c.num_attention_heads, c.num_key_value_heads, c.head_dim
    x = case.frame.embedding[case.token].numpy()
    before_attention, before_mlp = case.frame.norms[0]
    qkv = s.qkv.numpy()
    require_close(qkv, case.golden("qkv", case.norm(x, before_attention)), "qkv")
    q, k, v = np.split(qkv.reshape(-1, dim).astype(np.float64), [heads, heads + kv])
    cos, sin = (np.concatenate([t[last].numpy()] * 2).astype(np.float64)
                for t in (case.cos, case.sin))

    def rotate(row):
        return row * cos + np.concatenate([-row[:, dim // 2 :], row[:, : dim // 2]], 1) * sin

    q, k = rotate(q), rotate(k)
    require_close(case.cache.keys[0][0, :, last], k, "the new key")
    assert np.array_equal(case.cache.values[0][0, :, last].numpy(), v.astype(np.float16))
    keys, values = (b[:, : last + 1].numpy().astype(np.float64) for b in case.before)
    keys[:, last], values[:, last] = k.astype(np.float16), v
    group = heads // kv
    score = np.einsum("hd,htd->ht", q, keys.repeat(group, 0)) / dim**0.5
    weight = np.exp(score - score.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    mixed = np.einsum("ht,htd->hd", weight, values.repeat(group, 0)).ravel()
    splits, _ = s.shape.spans(last)
    parts = s.parts.numpy()[: heads * splits * dim].reshape(heads, splits, dim).astype(np.float64)
    top, share = np.moveaxis(s.sums.numpy()[: 2 * heads * splits].reshape(heads, splits, 2), 2, 0)
    of = np.exp(top - top.max(1, keepdims=True)) * share
    joined = (parts * (of / of.sum(1, keepdims=True))[..., None]).sum(1).ravel()
    assert np.abs(joined - mixed).max() < 2.0**-11 * np.abs(values).max()
    middle = case.golden("out", joined.astype(np.float16))
    middle = (middle.astype(np.float32) + x).astype(np.float16)
    h = case.golden("gate_up", case.norm(middle, before_mlp)).astype(np.float32)
    gate, up = np.split(h, 2)
    hidden = s.hidden.numpy()
    require_close(hidden, gate / (1 + np.exp(-gate)) * up, "hidden", share=0.9)
    end = (case.golden("down", hidden).astype(np.float32) + middle).astype(np.float16)
    require_close(s.x.numpy(), end, "x")
    wide = s.x.numpy().astype(np.float64)
    wide *= case.frame.final_norm.numpy() / np.sqrt(np.mean(wide**2) + c.rms_norm_eps)
    require_close(logits, case.frame.head.numpy() @ wide, "logits", share=0.9)


def test_steps_follow_each_other_and_do_not_depend_on_the_order_of_threads(monkeypatch):
    install(monkeypatch)
    config = replace(CONFIG, num_hidden_layers=3)
    case = Case(config, 16, 9, last=40, seed=3)
    first = case()
    assert not case.step.counters.any()
    assert not case.step.tops.any()
    for seed in (1, 2):
        monkeypatch.setattr(GridStandIn, "seed", seed)
        assert torch.equal(case(), first)
    case.require_near_float64(past=40)


@pytest.mark.parametrize("flight", [0, 1, 7])
def test_how_many_copies_are_under_way_does_not_change_a_step(monkeypatch, flight):
    install(monkeypatch)
    case = Case(replace(CONFIG, num_hidden_layers=2), 16, 9, last=40, seed=6)
    first = case()
    case.step.shape = replace(case.step.shape, flight=flight)
    assert torch.equal(case(), first)
    assert not case.step.counters.any()


def test_a_phase_may_run_over_the_end_of_the_ring(monkeypatch):
    install(monkeypatch)
    config = replace(CONFIG, intermediate_size=4096, num_hidden_layers=2)
    case = Case(config, 16, 8, last=20, seed=8)
    # a layer: 1 place for qkv, 2 for the cache, 1 for out, 8 for gate_up, 4 for down
    assert 16 + 4 < case.step.shape.slots < 16 + 4 + 8
    case.require_near_float64(past=20)


def test_stamps_are_in_the_order_of_phases(monkeypatch):
    install(monkeypatch)
    case = Case(replace(CONFIG, num_hidden_layers=2), 16, 9, last=40, seed=7)
    first = case()
    assert case.step.stamps.numel() == 0
    shape = replace(case.step.shape, stamps=True)
    case.step = OneLaunch(shape, case.frame, case.layers, case.cos, case.sin)
    assert torch.equal(case(), first)
    stamps = case.step.stamps
    assert stamps.shape == (9, 3, len(PHASES), len(MARKS))
    layers = stamps[:, :2].reshape(9, -1)  # in the order of time
    whole = (layers != 0).all(1)
    assert whole.sum() >= 4
    since = (layers[whole].long() - layers[whole, :1]) % 2**32
    # of a block with two sets of scales `inputs` and `planes` are of the second
    assert (since.diff(dim=1) <= 0).any(1).sum() <= 2
    head = stamps[:, 2, 0].long()
    assert ((head[:, [2, 3, 4]] - head[:, [0, 2, 3]]) % 2**32 < 2**31).all()
    assert not stamps[:, 2, 1:].any()


def largest_that_is_rounded_up(bits, case):
    """Let one input of qkv have the largest product, which rounds to 2^(bits - 1).

    Returns its place.
    """
    x, place = case.frame.embedding[case.token], 5
    gain = case.frame.norms[0][0]
    alpha = case.layers[0]["qkv"][0].alpha
    alpha *= 0.01
    for one in range(0x3C00, 0x4400):  # float16 from 1 to 4
        gain[place] = torch.tensor([one], dtype=torch.int16).view(torch.float16)[0]
        normed = float(case.norm(x.numpy(), gain)[place])
        mantissa, _ = np.frexp(abs(normed))
        other = np.floor((1 - 2.0**-30) / mantissa * 2048) / 2048  # below 1, in 11 bits
        if mantissa * other >= 1 - 2.0**-bits and mantissa * other < 1 and other >= 0.5:
            alpha[:, place] = float(other) * 16
            return place
    raise AssertionError("no pair of mantissas is that near to 1")


@pytest.mark.parametrize("bits", [16, 8])
def test_a_product_that_rounds_beyond_the_widest_integer_is_goldens(monkeypatch, bits):
    install(monkeypatch)
    case = Case(CONFIG, bits, 9, last=0, seed=11)
    place = largest_that_is_rounded_up(bits, case)
    x = case.norm(case.frame.embedding[case.token].numpy(), case.frame.norms[0][0])
    product = x.astype(np.float64) * case.layers[0]["qkv"][0].alpha[0].numpy()
    top = np.abs(product).max()
    assert top == abs(product[place])
    unit = 2.0 ** (np.frexp(top)[1] - (bits - 1))
    assert np.rint(top / unit) == 2 ** (bits - 1)
    case()
    require_close(case.step.qkv.numpy(), case.golden("qkv", x), "qkv")


def test_a_block_that_is_not_there_is_a_deadlock_and_not_an_endless_wait(monkeypatch):
    install(monkeypatch)
    case = Case(CONFIG, 16, 9, last=4, seed=4)
    case.step.counters[0] -= 1  # as if one block never came
    with pytest.raises(AssertionError, match="no thread of the grid gets on"):
        case()


@pytest.mark.parametrize("skip", [*((name,) for name in SKIPS), tuple(SKIPS)[:5]])
def test_whatever_is_left_out_the_rest_ends(monkeypatch, skip):
    install(monkeypatch)
    case = Case(CONFIG, 8, 9, last=70, seed=5, skip=skip)
    case()
    assert not case.step.counters.any()


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize(
    ("model", "changes"),
    [*((model, {}) for model in ("fbi-130m", "fbi-1.3b", "fbi-7b")),
     ("fbi-7b", {"stamps": True})],
)
def test_the_measured_models_compile_for_hopper(model, bits, changes):
    try:
        nvrtc._nvrtc()
    except DeviceError:
        pytest.skip("no NVRTC is installed")
    shape = StepShape(named_model(model), bits, 132, **changes)
    assert compile_step(shape).startswith(b"\x7fELF")


def test_the_measured_models_fit_132_processors():
    for model in ("fbi-130m", "fbi-1.3b", "fbi-7b"):
        for bits in (16, 8):
            shape = StepShape(named_model(model), bits, 132)
            assert shape.slots >= 24
            assert shape.shared <= 227 * 1024
    shape = StepShape(named_model("fbi-7b"), 16, 132)
    # 6 of 768 tiles and 2 x 6 of 2 x 688, at most
    assert shape.defines()["TILES"] == 12
    # 24 places, bit planes of `down`, counts of 12 tiles by 8 warps, barriers, 32 layers' pointers
    assert shape.shared == 24 * 8192 + 11008 * 2 + 12 * 8 * 64 + 2 * 264 + 512 + 32 * 128


@pytest.mark.parametrize("last", [0, 1, 31, 33, 127, 511, 2047])
@pytest.mark.parametrize("model", ["fbi-130m", "fbi-1.3b", "fbi-7b"])
def test_spans_cover_the_cache_and_none_is_empty(model, last):
    shape = StepShape(named_model(model), 16, 132)
    splits, span = shape.spans(last)
    assert splits * shape.config.num_attention_heads <= 132
    assert splits * span >= last
    assert (splits - 1) * span < max(last, 1)


@pytest.mark.parametrize(
    ("changes", "blocks", "message"),
    [
        ({"hidden_size": 320, "head_dim": 40}, 9, "hidden_size a multiple of 256, at most 4096"),
        ({"intermediate_size": 700}, 9, "intermediate_size a multiple of 256, not"),
        ({"head_dim": 128}, 9, "heads as wide as hidden_size together"),
        ({"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 256}, 1,
         "a processor for each head, not .* 1 blocks"),
        ({"intermediate_size": 1 << 16}, 9, "a block has of a phase in .* places of 8192 bytes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, blocks, message):
    config = replace(CONFIG, **({"head_dim": None} | changes))
    with pytest.raises(InputError, match=message):
        StepShape(config, 16, blocks)
