"""Packed folders read back as float models whose weights stay packed."""

import pytest
import torch

from golden import signed_sum
from golden.errors import InputError
from golden.model import GoldenModel
from model.packed import SignLinear, load_float, load_sign_linears

from ..packed_folder import CONFIG, write_packed_folder


def test_a_packed_model_is_the_float_one(tmp_path, monkeypatch):
    monkeypatch.setattr("model.packed.UNPACK_FROM", 16)
    config = CONFIG | {"num_key_value_heads": 2, "max_position_embeddings": 40}
    folder = write_packed_folder(tmp_path, config)
    tokens = torch.randint(0, 29, (2, 19), generator=torch.Generator().manual_seed(0))
    dense, packed = load_float(folder), load_sign_linears(folder)
    # 38 token vectors are multiplied unpacked, 2 by the kernel.
    for part in (tokens, tokens[:, :1]):
        assert torch.allclose(packed(part), dense(part), atol=2e-5)


def test_weights_take_one_bit_each(tmp_path):
    model = load_sign_linears(write_packed_folder(tmp_path, CONFIG | {"hidden_size": 64}))
    held = 0
    for module_ in model.model.layers.modules():
        assert not isinstance(module_, torch.nn.Linear)
        if isinstance(module_, SignLinear):
            assert module_.signs.dtype == torch.uint8
            held += module_.signs.numel()
    assert held == model.config.binary_weights // 8


def test_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    signed_sum._library.cache_clear()
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        load_sign_linears(tmp_path / "not even looked at")
    signed_sum._library.cache_clear()


def test_a_golden_model_that_stays_packed_is_the_same_to_the_bit(tmp_path):
    folder = write_packed_folder(tmp_path)
    tokens = torch.randint(0, 29, (2, 15), generator=torch.Generator().manual_seed(0))
    for act_bits in (8, 16):
        plain = GoldenModel.from_folder(folder, act_bits=act_bits)
        packed = GoldenModel.from_folder(folder, act_bits=act_bits, keep_packed=True)
        for part in (tokens, tokens[:1, :3]):
            assert torch.equal(packed(part), plain(part))
