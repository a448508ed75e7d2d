"""GGUF files of packed models: what they hold, back again, and what is refused."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from golden.config import ModelConfig
from golden.errors import InputError
from model.gguf_file import export_gguf, import_gguf

from ..packed_folder import CONFIG, METADATA, write_packed_folder

gguf = pytest.importorskip("gguf")

WIDE = CONFIG | {"hidden_size": 128, "intermediate_size": 256, "num_key_value_heads": 2}


@pytest.fixture
def folder(tmp_path):
    return write_packed_folder(
        tmp_path / "m", WIDE | {"trained_steps": 3}, metadata=METADATA | {"latent_zeros": "7"}
    )


@pytest.fixture
def file(folder, tmp_path):
    return export_gguf(folder, tmp_path / "m.gguf")


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("change", [{}, {"tie_word_embeddings": True}, {"head_dim": 64}])
def test_there_and_back_is_the_same_model(tmp_path, change):
    folder = write_packed_folder(
        tmp_path / "m", WIDE | change, metadata=METADATA | {"latent_zeros": "7"}
    )
    file = export_gguf(folder, tmp_path / "m.gguf")
    config = import_gguf(file, tmp_path / "n")
    assert config == ModelConfig.from_folder(folder) == ModelConfig.from_folder(tmp_path / "n")
    first, second = tensors_of(folder), tensors_of(tmp_path / "n")
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype
        assert value.tobytes() == second[name].tobytes()
    again = (tmp_path / "n" / "tokenizer.json").read_text()
    assert again == (folder / "tokenizer.json").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "m.gguf", "n"]


def test_further_keys_and_metadata_come_back(file, tmp_path):
    from golden.folder import load_packed

    import_gguf(file, tmp_path / "n")
    assert json.loads((tmp_path / "n" / "config.json").read_text())["trained_steps"] == 3
    assert load_packed(tmp_path / "n").metadata == METADATA | {"latent_zeros": "7"}


def test_other_readers_see_signs_and_scales(file, folder):
    """Q1_0 as llama.cpp reads it: bit 1 is +d, 0 is -d, the least significant first; d is 1."""
    reader = gguf.GGUFReader(file)
    assert reader.fields["general.architecture"].contents() == "fbi-llm"
    assert reader.fields["fbi-llm.block_count"].contents() == 2
    found = {t.name: t for t in reader.tensors}
    want = tensors_of(folder)
    up = found["blk.1.ffn_up.weight"]
    assert (up.tensor_type.name, up.shape.tolist()) == ("Q1_0", [128, 256])
    weights = []
    for row in up.data:
        for start in range(0, len(row), 18):
            (scale,) = np.frombuffer(row[start : start + 2].tobytes(), "<f2")
            for j in range(128):
                bit = row[start + 2 + j // 8] >> j % 8 & 1
                weights.append(scale if bit else -scale)
    bits = np.unpackbits(want["model.layers.1.mlp.up_proj.signs"], axis=1, bitorder="little")
    assert np.array_equal(np.reshape(weights, (256, 128)), bits * 2.0 - 1)
    scale = found["blk.1.ffn_up.scale_in"]
    assert scale.tensor_type.name == "F16"
    assert np.array_equal(scale.data, want["model.layers.1.mlp.up_proj.scale_in"])


def test_an_older_file_is_replaced(file, folder):
    before = file.read_bytes()
    file.write_text("old")
    assert export_gguf(folder, file).read_bytes() == before


def test_rows_must_be_whole_blocks(tmp_path):
    folder = write_packed_folder(tmp_path / "m", WIDE | {"intermediate_size": 200})
    with pytest.raises(InputError, match="whole blocks of 128 signs; down_proj has 200 inputs"):
        export_gguf(folder, tmp_path / "m.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_tokenizer_that_is_no_text(folder, tmp_path):
    (folder / "tokenizer.json").write_bytes(b'{"model": "\xff"}')
    with pytest.raises(InputError, match=r"tokenizer\.json must be UTF-8 text"):
        export_gguf(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_an_output_that_is_a_folder(folder, tmp_path):
    with pytest.raises(IsADirectoryError):
        export_gguf(folder, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_without_the_package(folder, file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    for call in (lambda: export_gguf(folder, tmp_path / "n.gguf"),
                 lambda: import_gguf(file, tmp_path / "n")):
        with pytest.raises(InputError, match="need the Python package gguf"):
            call()


# ---- what is refused ----------------------------------------------------------------------------


def refused(file, tmp_path, message):
    with pytest.raises(InputError, match=message):
        import_gguf(file, tmp_path / "n")
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 100, 1000, 0.3, 0.7, -1])
def test_a_truncated_file(file, tmp_path, keep):
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else keep])
    refused(file, tmp_path, "must be a complete GGUF file")


def test_no_file_and_no_gguf(tmp_path):
    refused(tmp_path / "none.gguf", tmp_path, "there is none at")
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4" * 100)
    refused(tmp_path / "x.gguf", tmp_path, "must be a complete GGUF file")


@pytest.mark.parametrize("seed", range(30))
def test_damaged_bytes(file, tmp_path, seed):
    """Whatever eight bytes of the head are damaged: refused, or a model of the same shape."""
    random = np.random.default_rng(seed)
    data = bytearray(file.read_bytes())
    for place in random.integers(0, 6000, 8).tolist():
        data[place] = int(random.integers(256))
    file.write_bytes(data)
    try:
        import_gguf(file, tmp_path / "n")
    except InputError as error:
        message = str(error)
    else:
        message = None
    assert message is None or str(file) in message
    assert (tmp_path / "n").exists() == (message is None)


def test_a_scale_that_is_not_1(file, folder, tmp_path):
    data = bytearray(file.read_bytes())
    signs = tensors_of(folder)["model.layers.0.self_attn.k_proj.signs"]
    place = data.index(signs[0, :16].tobytes())
    assert data[place - 2 : place] == b"\x00\x3c"
    data[place - 1] = 0x40
    file.write_bytes(data)
    refused(file, tmp_path, r"the scales of blk.0.attn_k.weight must all be 1")


def write(path, *, architecture="fbi-llm", keys=(), tensors=()):
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys:
        writer.add_string(key, value)
    for name, value in tensors:
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


GOOD = (("signacc.config", json.dumps(WIDE)), ("signacc.metadata", json.dumps(METADATA)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "llama"}, "must be of architecture fbi-llm, not 'llama'"),
        ({}, "must hold the texts signacc.config and signacc.metadata"),
        ({"keys": (GOOD[0], ("signacc.metadata", "{}"))}, "must be the metadata of a packed model"),
        ({"keys": (("signacc.config", "{"), GOOD[1])}, "must be a complete GGUF file"),
        ({"keys": (("signacc.config", "{}"), GOOD[1])}, "signacc.config in .* must give"),
        ({"keys": GOOD}, "it lacks blk.0.attn_k.scale_in"),
    ],
)
def test_another_model(tmp_path, options, message):
    tensors = [("token_embd.weight", np.zeros((4, 4), np.float16))]
    refused(write(tmp_path / "x.gguf", tensors=tensors, **options), tmp_path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("output.weight"), "it lacks output.weight"),
        (lambda t: t.update(extra=np.zeros(3, np.float16)), "it holds extra, which is none"),
        (lambda t: t.update({"output.weight": np.zeros((28, 128), np.float16)}),
         r"output.weight must be F16 \[29, 128\], not F16 \[28, 128\]"),
        (lambda t: t.update({"output.weight": np.zeros((29, 128), np.float32)}),
         r"output.weight must be F16 \[29, 128\], not F32"),
        (lambda t: t.update({"blk.0.attn_q.weight": np.zeros((128, 128), np.float16)}),
         r"blk.0.attn_q.weight must be Q1_0 \[128, 128\], not F16"),
    ],
)
def test_tensors_that_do_not_fit(file, tmp_path, change, message):
    reader = gguf.GGUFReader(file)
    raw = {t.name: (np.array(t.data), t.tensor_type) for t in reader.tensors}
    tensors = {name: data for name, (data, _) in raw.items()}
    change(tensors)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "fbi-llm")
    for key in ("signacc.config", "signacc.metadata"):
        writer.add_string(key, reader.fields[key].contents())
    for name, data in tensors.items():
        kept = name in raw and data is raw[name][0]
        writer.add_tensor(name, data, raw_dtype=raw[name][1] if kept else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused(tmp_path / "x.gguf", tmp_path, message)


def test_a_scale_that_is_not_finite(file, folder, tmp_path):
    data = bytearray(file.read_bytes())
    scale = tensors_of(folder)["model.layers.1.mlp.up_proj.scale_in"].tobytes()
    place = data.index(scale)
    data[place : place + 2] = np.float16(np.nan).tobytes()
    file.write_bytes(data)
    refused(file, tmp_path, r"blk.1.ffn_up.scale_in must hold finite numbers, not NaN")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "{}", "must be a tokenizer of the tokenizers library"),
        (lambda text: text.replace(": 28", ": 29", 1).replace(":28", ":29", 1),
         r"must be of the model's vocabulary of 29 tokens; it has a token 29"),
    ],
)
def test_a_tokenizer_that_is_none_of_the_models(folder, tmp_path, change, message):
    text = (folder / "tokenizer.json").read_text()
    assert change(text) != text
    (folder / "tokenizer.json").write_text(change(text))
    file = export_gguf(folder, tmp_path / "m.gguf")
    refused(file, tmp_path, rf"tokenizer.huggingface.json in .*m.gguf {message}")


def test_a_folder_is_known_whatever_the_file_says(file, folder, tmp_path):
    """A folder that said to be of another format could not be replaced."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": "other"}))
    file = export_gguf(folder, tmp_path / "m.gguf")
    for _ in range(2):
        import_gguf(file, tmp_path / "n")
