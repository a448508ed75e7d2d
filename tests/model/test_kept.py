"""Parts that are kept, and hashes of what they are of."""

from dataclasses import replace

import pytest
import torch

from model.fbi import FbiLlm
from model.kept import Kept, code_hash, model_hash

from .tiny import CONFIG


def never():
    raise AssertionError("it was there")


def test_a_part_comes_back_to_the_bit_whoever_asks(tmp_path):
    values = [0.1 + 0.2, 1e-300, 5e-324]
    said = []
    first = Kept(tmp_path / "k.json", {"device": "cpu"}, said.append)
    assert first.part("a", {"of": (1, 2)}, lambda: (values, 3)) == [values, 3]
    assert first.part("a", {"of": [1, 2]}, never) == [values, 3]
    again = Kept(tmp_path / "k.json", {"device": "cpu"}, said.append)
    assert again.part("a", {"of": (1, 2)}, never) == [values, 3]
    assert said == [f"a: kept in {tmp_path / 'k.json'}"] * 2
    again.remove()
    again.remove()
    assert not list(tmp_path.iterdir())


def test_what_differs_is_said_and_made_anew(tmp_path):
    said = []
    for settings, of in (({"s": 1}, {"x": 1}), ({"s": 2}, {"x": 1}), ({"s": 2}, {"y": 1})):
        kept = Kept(tmp_path / "k.json", settings, said.append)
        kept.part("b", {}, lambda: "b")
        assert kept.part("a", of, lambda of=of: list(of)) == list(of)
    of_other = [line.partition("it is of other ")[2] for line in said if "other" in line]
    assert of_other == ["s; computed anew", "s; computed anew", "x, y; computed anew"]


def test_what_fails_keeps_what_is_done(tmp_path, monkeypatch):
    path = tmp_path / "k.json"
    Kept(path, {}, print).part("a", {}, lambda: 1)
    before = path.read_bytes()
    kept = Kept(path, {}, print)
    with pytest.raises(AssertionError, match="it was there"):
        kept.part("b", {}, never)

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.kept.write_text", full)
    with pytest.raises(OSError, match="No space left"):
        kept.part("b", {}, lambda: 2)
    assert path.read_bytes() == before


def test_models_are_told_apart_by_what_they_compute_with(tmp_path):
    torch.manual_seed(0)
    model = FbiLlm(CONFIG)
    shape = CONFIG.to_dict()
    same = FbiLlm(CONFIG)
    same.load_state_dict(model.state_dict())
    hashes = [model_hash(model, shape)]
    assert model_hash(same, shape) == hashes[0]
    hashes.append(model_hash(model, replace(CONFIG, rope_theta=5e5).to_dict()))
    hashes.append(model_hash(model.to(torch.bfloat16), shape))
    with torch.no_grad():
        same.lm_head.weight[0, 0] += 1e-6
    hashes.append(model_hash(same, shape))
    hashes.append(model_hash(FbiLlm(CONFIG, binary=False), shape))
    assert len(set(hashes)) == len(hashes)


def test_the_code_is_all_that_a_figure_depends_on(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "kept.py").write_text("1")
    before = code_hash()
    monkeypatch.setattr("model.kept.__file__", str(folder / "kept.py"))
    hashes = {before, code_hash()}
    (folder / "evaluate.py").write_text("2")
    hashes.add(code_hash())
    (folder / "evaluate.py").write_text("3")
    hashes.add(code_hash())
    monkeypatch.setattr("golden.__file__", str(folder / "kept.py"))
    hashes.add(code_hash())
    assert len(hashes) == 5
