"""Arithmetics by name, and the models that compute in them."""

import pytest
import torch

import golden.model
from golden.errors import InputError
from golden.linear import PreparedLinear
from golden.model import KVCache
from signacc import models
from signacc.models import SHIPPED, load_model, model_folder, parse_arithmetic

from ..packed_folder import write_packed_folder


@pytest.mark.parametrize("text", ["A3", "A25", "A", "a16", "16", "A" + "9" * 5000, "A²", "[/x]"])
def test_arithmetic_that_does_not_exist(text):
    with pytest.raises(InputError, match="arithmetic must be float, packed or A4"):
        parse_arithmetic(text)


def test_names_and_paths(tmp_path):
    assert model_folder() == model_folder(SHIPPED)
    assert model_folder(str(tmp_path)) == tmp_path


def test_every_arithmetic_takes_tokens_and_a_cache(tmp_path):
    folder = write_packed_folder(tmp_path)
    tokens = torch.tensor([[3, 1, 4, 1, 5]])
    found = []
    for arithmetic in ("float", "A24", "A16", "packed"):
        model = load_model(folder, arithmetic)
        cache = KVCache()
        first = model(tokens[:, :2], cache)
        both = torch.cat([first, model(tokens[:, 2:], cache)], dim=1)
        assert torch.allclose(both, model(tokens), atol=1e-5)
        found.append(both)
    assert torch.allclose(found[0], found[1], atol=0.02)
    assert not torch.equal(found[0], found[1])
    assert torch.allclose(found[0], found[3], atol=1e-5)
    assert not torch.equal(found[0], found[3])


def test_golden_models_stay_packed_where_there_is_a_compiler(tmp_path, monkeypatch):
    """It does not show in the results: the same bits with a compiler and without."""
    folder = write_packed_folder(tmp_path)
    tokens = torch.tensor([[3, 1, 4]])
    plain = golden.model.GoldenModel.from_folder(folder)(tokens)
    kept = []
    monkeypatch.setattr(
        golden.model, "PreparedLinear",
        lambda *args, keep_packed: kept.append(keep_packed) or PreparedLinear(
            *args, keep_packed=keep_packed
        ),
    )
    assert torch.equal(load_model(folder, "A16")(tokens), plain)
    monkeypatch.setattr(models, "_has_kernel", lambda: False)
    assert torch.equal(load_model(folder, "A16")(tokens), plain)
    assert kept == [True] * 14 + [False] * 14
