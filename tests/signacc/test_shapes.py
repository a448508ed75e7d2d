"""Shapes that are costed: names, folders, files; what is another kind of model is refused."""

import json
import os

import pytest

from golden.config import named_model
from golden.errors import InputError
from signacc.shapes import model_name, model_shape

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "max_position_embeddings": 128,
}


def write(path, **changes):
    """Write a configuration, without the keys whose value is `...`."""
    data = {key: value for key, value in (LLAMA | changes).items() if value is not ...}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_a_name_a_folder_and_its_file_give_a_shape(tmp_path):
    path = write(tmp_path / "mine" / "config.json")
    assert model_shape("fbi-7b") == named_model("fbi-7b")
    shape = model_shape(str(path.parent))
    assert shape == model_shape(str(path))
    assert (shape.hidden_size, shape.num_key_value_heads, shape.head_dim) == (64, 2, 16)


def test_what_reports_call_it(tmp_path, monkeypatch):
    path = write(tmp_path / "mine" / "config.json")
    other = write(tmp_path / "wide.json")
    assert model_name("fbi-7b") == "fbi-7b"
    assert model_name(str(path)) == model_name(str(path.parent) + os.sep) == "mine"
    assert model_name(str(other)) == "wide"
    monkeypatch.chdir(path.parent)
    assert model_name(".") == model_name("config.json") == "mine"


def test_a_configuration_of_transformers(tmp_path):
    """Without key/value heads there are as many as heads; several end tokens cost nothing."""
    path = write(tmp_path / "config.json", num_key_value_heads=..., eos_token_id=[1, 2],
                 bos_token_id=0)  # fmt: skip
    shape = model_shape(str(path))
    assert shape.num_key_value_heads == 4
    assert (shape.bos_token_id, shape.eos_token_id) == (0, None)


@pytest.mark.parametrize("kind", ["mixtral", "deepseek_v3", "gpt_neox", ["llama"], 7])
def test_other_kinds_of_model_are_refused(tmp_path, kind):
    path = write(tmp_path / "config.json", model_type=kind)
    with pytest.raises(InputError) as raised:
        model_shape(str(path))
    assert f"{path}: model_type must be one of fbi-llm, llama" in str(raised.value)
    assert f"not {kind!r}" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "legal"),
    [
        ({"sliding_window": 64}, False),
        ({"sliding_window": "64"}, False),
        ({"sliding_window": 64, "use_sliding_window": False}, True),
        ({"sliding_window": 128}, True),
        ({"sliding_window": None}, True),
    ],
)
def test_a_window_is_refused_unless_it_holds_all_positions(tmp_path, changes, legal):
    path = write(tmp_path / "config.json", **changes)
    if legal:
        assert model_shape(str(path)).max_position_embeddings == 128
        return
    with pytest.raises(InputError, match="sliding_window must be null or at least"):
        model_shape(str(path))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "must be valid JSON"),
        ('{"vocab_size": 1, "vocab_size": 2}', "a key must stand once"),
        ("[1]", "must be a JSON object, not list"),
        ("{}", "missing: hidden_size"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path, text, part):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        model_shape(str(path))
    assert str(path) in str(raised.value)
    assert part in str(raised.value)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"not 'gpt', which is neither a folder nor a file"):
        model_shape("gpt")
    with pytest.raises(InputError, match=r"must hold config\.json; there is none"):
        model_shape(str(tmp_path))
