"""Packed folders: what is read, and that anything else is refused with its reason."""

import json
import math
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from golden.config import MODELS, ModelConfig
from golden.errors import InputError
from golden.folder import expected_tensors, load_packed

from ..packed_folder import CONFIG, METADATA, linear_shapes, packed_tensors, write_packed_folder

Q = "model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize("tied", [False, True])
def test_everything_is_read_as_it_was_written(tmp_path, tied):
    config = CONFIG | {"tie_word_embeddings": tied, "num_key_value_heads": 2, "head_dim": 10}
    tensors = packed_tensors(config, 3)
    packed = load_packed(write_packed_folder(tmp_path / "a" / "b", config, tensors=tensors))
    assert packed.config == ModelConfig.from_dict(config)
    assert packed.metadata == METADATA
    found = {
        "model.embed_tokens.weight": packed.embedding,
        "model.norm.weight": packed.final_norm,
    }
    if tied:
        assert packed.head is packed.embedding
    else:
        found["lm_head.weight"] = packed.head
    for layer in range(2):
        for name, norm in packed.norms[layer].items():
            found[f"model.layers.{layer}.{name}.weight"] = norm
        for path in linear_shapes(config):
            linear = packed.linears[layer][path.split(".")[1]]
            for part in ("signs", "scale_in", "shift_in"):
                found[f"model.layers.{layer}.{path}.{part}"] = getattr(linear, part)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].tobytes() == tensor.tobytes()
        assert found[name].shape == tensor.shape


def test_a_path_may_be_text(tmp_path):
    assert load_packed(str(write_packed_folder(tmp_path))).metadata == METADATA


def test_further_metadata_is_kept(tmp_path):
    metadata = METADATA | {"zero_weights": "3"}
    assert load_packed(write_packed_folder(tmp_path, metadata=metadata)).metadata == metadata


def test_expected_tensors_of_the_130m_model_by_arithmetic():
    tensors = expected_tensors(MODELS["fbi-130m"])
    assert len(tensors) == 3 + 12 * (2 + 7 * 3)
    bits = sum(8 * n * k for kind, (n, k) in (t for t in tensors.values() if t[0] == "U8"))
    assert bits == MODELS["fbi-130m"].binary_weights == 12 * (4 * 768**2 + 3 * 768 * 2048)


def refusal(folder) -> str:
    with pytest.raises(InputError) as error:
        load_packed(folder)
    assert error.value.__cause__ is None
    return str(error.value)


# ---- files --------------------------------------------------------------------------------------


def bit_count(config):
    """Return the bits of a model's parts by arithmetic: 1 a binary weight, 16 anything else."""
    total = 0
    for n, k in linear_shapes(config).values():
        total += n * k + 2 * 16 * k
    total = config["num_hidden_layers"] * (total + 2 * 16 * config["hidden_size"])
    tables = 1 if config["tie_word_embeddings"] else 2
    return total + 16 * config["hidden_size"] * (1 + tables * config["vocab_size"])


@pytest.mark.parametrize("name", MODELS)
def test_size_is_the_bit_count(name):
    config = MODELS[name]
    sizes = {"U8": 1, "F16": 2}
    stored = sum(sizes[d] * math.prod(shape) for d, shape in expected_tensors(config).values())
    assert stored == bit_count(config.to_dict()) / 8  # no row of these needs padding


def test_the_tied_130m_shape_fits_in_64_megabytes():
    signs, table = 84_934_656 / 8, 2 * 768 * 32000
    scales = 12 * 2 * 2 * (6 * 768 + 2048)  # alpha and beta of every input column
    norms = 2 * 768 * (2 * 12 + 1)
    assert bit_count(MODELS["fbi-110m"].to_dict()) / 8 == signs + table + scales + norms
    assert signs + table + scales + norms == 60_126_720


def test_the_file_is_its_bit_count_and_a_header():
    folder = Path(__file__).parents[2] / "signacc/assets/fbi-43m"
    content = (folder / "model.safetensors").read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    bits = bit_count(json.loads((folder / "config.json").read_text()))
    assert len(content) - header == bits / 8 == 13_446_144
    assert f"{header / (bits / 8):.2%}" == "0.22%", "as docs/interchange.md has it"
    names = json.loads(content[8:header]).keys() - {"__metadata__"}
    assert len(names) == 279


def test_no_folder(tmp_path):
    assert refusal(tmp_path / "x") == f"a model is a folder; there is none at {tmp_path / 'x'}"
    (tmp_path / "x").write_text("")
    assert refusal(tmp_path / "x") == f"a model is a folder; there is none at {tmp_path / 'x'}"


def test_no_config(tmp_path):
    (write_packed_folder(tmp_path) / "config.json").unlink()
    assert refusal(tmp_path) == (
        f"a model folder must hold config.json; there is none in {tmp_path}"
    )


def test_bad_json(tmp_path):
    (write_packed_folder(tmp_path) / "config.json").write_text("{not json")
    assert refusal(tmp_path).startswith(f"{tmp_path / 'config.json'} must be valid JSON: ")


def test_a_config_that_breaks_a_rule(tmp_path):
    config = json.dumps(CONFIG | {"vocab_size": -1})
    (write_packed_folder(tmp_path) / "config.json").write_text(config)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'config.json'}: vocab_size must be a positive integer, not -1"
    )


@pytest.mark.parametrize("make", ["nothing", "folder"])
def test_no_safetensors(tmp_path, make):
    (write_packed_folder(tmp_path) / "model.safetensors").unlink()
    if make == "folder":
        (tmp_path / "model.safetensors").mkdir()
    assert refusal(tmp_path) == (
        f"a model folder must hold model.safetensors; there is none in {tmp_path}"
    )


def unreadable(folder) -> None:
    start = (
        f"{folder / 'model.safetensors'} must be a complete safetensors file; it cannot be read: "
    )
    assert refusal(folder).startswith(start)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, -1, -1000])
def test_truncated(tmp_path, keep):
    path = write_packed_folder(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    unreadable(tmp_path)


def test_longer_than_it_says(tmp_path):
    path = write_packed_folder(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    unreadable(tmp_path)


@pytest.mark.parametrize(
    "start",
    [
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 2**32),
        struct.pack("<Q", 0),
        struct.pack("<Q", 4) + b"\xff\xff\xff\xff",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a": {}}',
    ],
)
def test_corrupt_header(tmp_path, start):
    path = write_packed_folder(tmp_path) / "model.safetensors"
    path.write_bytes(start + path.read_bytes()[len(start) :])
    unreadable(tmp_path)


def test_every_byte_of_the_header_matters_or_is_harmless(tmp_path):
    """A flipped bit in the header gives a refusal or the same model: never another exception."""
    path = write_packed_folder(tmp_path) / "model.safetensors"
    good = path.read_bytes()
    random = np.random.default_rng(5)
    length = struct.unpack("<Q", good[:8])[0]
    refused = 0
    for position in sorted(random.choice(8 + length, 150, replace=False)):
        broken = bytearray(good)
        broken[position] ^= 1 << int(random.integers(8))
        path.write_bytes(broken)
        try:
            load_packed(tmp_path)
        except InputError:
            refused += 1
    assert refused > 140


class Marker:
    """Says on unpickling that it was unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_is_refused_and_not_run(tmp_path, protocol):
    evil = tmp_path / "evil"
    data = pickle.dumps(Marker(str(evil)), protocol=protocol)
    path = write_packed_folder(tmp_path / "model") / "model.safetensors"
    path.write_bytes(data)
    unreadable(tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(data)
    path.unlink()
    assert "must hold model.safetensors" in refusal(tmp_path / "model")
    assert not evil.exists()
    pickle.loads(data)  # noqa: S301  the marker works: this is what must not have happened
    assert evil.exists()


# ---- metadata -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", METADATA)
@pytest.mark.parametrize("value", ["other", "", None])
def test_other_metadata(tmp_path, key, value):
    metadata = {k: v for k, v in METADATA.items() if k != key}
    if value is not None:
        metadata[key] = value
    write_packed_folder(tmp_path, metadata=metadata)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'model.safetensors'} must be a packed model whose metadata says "
        f"{key}={METADATA[key]}, not {value!r}"
    )


def test_no_metadata(tmp_path):
    write_packed_folder(tmp_path, metadata=None)
    assert "metadata says format=signacc-packed, not None" in refusal(tmp_path)


# ---- tensors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(packed_tensors(CONFIG, 0)))
def test_a_missing_tensor(tmp_path, name):
    tensors = packed_tensors(CONFIG, 0)
    del tensors[name]
    write_packed_folder(tmp_path, tensors=tensors)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'model.safetensors'} must hold every tensor that config.json asks for; "
        f"1 missing, first {name}"
    )


def test_several_missing_tensors(tmp_path):
    tensors = packed_tensors(CONFIG, 0)
    for part in ("signs", "scale_in"):
        del tensors[f"{Q}.{part}"]
    write_packed_folder(tmp_path, tensors=tensors)
    assert refusal(tmp_path).endswith(f"; 2 missing, first {Q}.scale_in")


def test_unknown_tensors(tmp_path):
    tensors = packed_tensors(CONFIG, 0)
    tensors["model.z"] = tensors["model.b"] = np.zeros(1, np.float16)
    write_packed_folder(tmp_path, tensors=tensors)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'model.safetensors'} must hold only tensors that config.json asks for; "
        "2 unknown, first model.b"
    )


def test_a_head_beside_tied_embeddings_is_unknown(tmp_path):
    tensors = packed_tensors(CONFIG, 0)
    write_packed_folder(tmp_path, CONFIG | {"tie_word_embeddings": True}, tensors=tensors)
    assert refusal(tmp_path).endswith("1 unknown, first lm_head.weight")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("lm_head.weight", np.zeros((29, 24), np.float32), "F16 [29, 24], not F32 [29, 24]"),
        ("lm_head.weight", np.zeros((24, 29), np.float16), "F16 [29, 24], not F16 [24, 29]"),
        ("model.norm.weight", np.zeros((1, 24), np.float16), "F16 [24], not F16 [1, 24]"),
        ("model.norm.weight", np.zeros(24, np.int16), "F16 [24], not I16 [24]"),
        ("model.norm.weight", np.zeros((), np.float16), "F16 [24], not F16 []"),
        ("model.embed_tokens.weight", np.zeros((30, 24), np.float16),
         "F16 [29, 24], not F16 [30, 24]"),
        (f"{Q}.signs", np.zeros((24, 3), np.int8), "U8 [24, 3], not I8 [24, 3]"),
        (f"{Q}.signs", np.zeros((24, 24), np.uint8), "U8 [24, 3], not U8 [24, 24]"),
        (f"{Q}.signs", np.zeros((3, 24), np.uint8), "U8 [24, 3], not U8 [3, 24]"),
        (f"{Q}.scale_in", np.zeros((1, 24), np.float16), "F16 [24], not F16 [1, 24]"),
        (f"{Q}.shift_in", np.zeros(24, np.float64), "F16 [24], not F64 [24]"),
        (f"{Q}.shift_in", np.zeros(0, np.float16), "F16 [24], not F16 [0]"),
        ("model.layers.0.input_layernorm.weight", np.zeros(25, np.float16),
         "F16 [24], not F16 [25]"),
    ],
)  # fmt: skip
def test_a_tensor_of_another_type_or_shape(tmp_path, name, tensor, message):
    write_packed_folder(tmp_path, tensors=packed_tensors(CONFIG, 0) | {name: tensor})
    assert refusal(tmp_path) == f"{tmp_path / 'model.safetensors'}: {name} must be {message}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name",
    ["model.norm.weight", "model.embed_tokens.weight", "lm_head.weight",
     "model.layers.1.mlp.up_proj.scale_in", "model.layers.0.self_attn.q_proj.shift_in"],
)
def test_a_tensor_that_is_not_finite(tmp_path, name, value):
    tensors = packed_tensors(CONFIG, 0)
    tensors[name].reshape(-1)[-1] = value
    write_packed_folder(tmp_path, tensors=tensors)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'model.safetensors'}: {name} must hold finite numbers, not NaN or infinity"
    )


def test_bfloat16_is_refused_too(tmp_path):
    """The numpy side of safetensors cannot write it: patch the type in the header."""
    path = write_packed_folder(tmp_path) / "model.safetensors"
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["model.norm.weight"]["dtype"] = "BF16"
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])
    assert refusal(tmp_path).endswith("model.norm.weight must be F16 [24], not BF16 [24]")


def test_a_config_of_another_shape(tmp_path):
    write_packed_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 3}))
    assert "23 missing, first model.layers.2.input_layernorm.weight" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 1}))
    assert "23 unknown, first model.layers.1.input_layernorm.weight" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"intermediate_size": 48}))
    assert "must be U8 [48, 3], not U8 [40, 3]" in refusal(tmp_path)
