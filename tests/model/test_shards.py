"""Files of checkpoints: whole ones are read, damaged and foreign ones refused, code never run."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from golden.errors import InputError
from model.importer import import_checkpoint

from .published_files import state, write_checkpoint
from .refusal import refused

Q0 = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def tensors():
    return state()


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9, -1])
def test_a_truncated_shard(tensors, tmp_path, kind, keep):
    checkpoint = write_checkpoint(tmp_path / "c", tensors, kind=kind, shards=3)
    (shard,) = checkpoint.glob("*-00002-*")
    data = shard.read_bytes()
    shard.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else keep])
    refused(checkpoint, rf"{shard.name} must be a complete (safetensors file|file of torch.save)")


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_archive(tensors, tmp_path, seed):
    """A flipped bit anywhere is told; at worst it changes nothing that is read."""
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    shard = checkpoint / "pytorch_model.bin"
    import_checkpoint(checkpoint, tmp_path / "whole")
    data = bytearray(shard.read_bytes())
    place = int(np.random.default_rng(seed).integers(len(data)))
    data[place] ^= 1 << seed % 8
    shard.write_bytes(data)
    try:
        import_checkpoint(checkpoint, tmp_path / "m")
    except InputError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is None:
        first, second = (load_file(tmp_path / m / "model.safetensors") for m in ("whole", "m"))
        assert all(torch.equal(first[name], second[name]) for name in first)
    else:
        assert str(shard) in refusal or "missing" in refusal
        assert not (tmp_path / "m").exists()


def test_a_flipped_weight_is_told_by_its_checksum(tensors, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    shard = checkpoint / "pytorch_model.bin"
    data = bytearray(shard.read_bytes())
    place = data.index(tensors[f"{Q0}.weight"].numpy().tobytes())
    data[place + 3] ^= 128  # the sign of the first latent
    shard.write_bytes(data)
    refused(checkpoint, "pytorch_model.bin is damaged: the checksum of .* does not hold")


def test_a_compressed_archive(tensors, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    shard = checkpoint / "pytorch_model.bin"
    with zipfile.ZipFile(shard) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    with zipfile.ZipFile(shard, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    refused(checkpoint, "must be a file of torch.save; .* in it is compressed")


def test_the_older_form_of_torch_save(tensors, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    torch.save(
        tensors, checkpoint / "pytorch_model.bin", _use_new_zipfile_serialization=False
    )
    assert import_checkpoint(checkpoint, tmp_path / "m").tensors == len(tensors) - 2


class _Code:
    """A pickle of it creates a file when it is executed."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("archive", [True, False])
def test_code_in_a_pickle_is_not_executed(tensors, tmp_path, archive):
    checkpoint = write_checkpoint(tmp_path / "c", tensors, shards=2)
    (shard,) = checkpoint.glob("*-00002-*")
    trap = tmp_path / "c" / "executed"
    tensors["lm_head.weight"] = _Code(trap)
    torch.save(tensors, shard, _use_new_zipfile_serialization=archive)
    refused(checkpoint, "must hold tensors alone; .* Nothing in it was executed")
    assert not trap.exists()
    # The trap works: executed, it leaves the file.
    torch.load(shard, weights_only=False)
    assert trap.exists()


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([1, 2], "must hold a dictionary of tensors, not list"),
        ({"lm_head.weight": 3}, "must hold tensors by name; 'lm_head.weight' is int"),
        ({7: torch.ones(1)}, "must hold tensors by name; 7 is Tensor"),
        ({"state_dict": {"lm_head.weight": torch.ones(1)}}, "'state_dict' is dict"),
    ],
)
def test_a_file_of_something_else(tmp_path, held, message):
    checkpoint = write_checkpoint(tmp_path / "c", state())
    torch.save(held, checkpoint / "pytorch_model.bin")
    refused(checkpoint, message)


def test_a_tensor_of_one_repeated_value(tensors, tmp_path):
    """A few bytes can say to be a matrix of any size: nothing of that size is made of them."""
    name = "model.layers.0.mlp.up_proj.weight"
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    torch.save(tensors | {name: torch.zeros(1).expand(36, 24)}, checkpoint / "pytorch_model.bin")
    refused(checkpoint, rf"{name} must hold a value for each element of \[36, 24\]")


def test_a_refused_pickle_is_told_in_one_sentence(tmp_path, recwarn):
    """torch warns of pickles that it does not know before it refuses them."""
    checkpoint = write_checkpoint(tmp_path / "c", state())
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps({"a": _Code("x")}, protocol=5))
    refused(checkpoint, "must hold tensors alone; .* Nothing in it was executed")
    assert not recwarn.list


# ---- indices ------------------------------------------------------------------------------------


def _index(tmp_path, kind, change):
    checkpoint = write_checkpoint(tmp_path / "c", state(), kind=kind, shards=3)
    (path,) = checkpoint.glob("*.index.json")
    index = json.loads(path.read_text())
    change(index["weight_map"], sorted(set(index["weight_map"].values())))
    path.write_text(json.dumps(index))
    return checkpoint


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names, files: names.update({"lm_head.weight": files[0]}),
         r"must hold lm_head.weight, as the index says|holds lm_head.weight; the index"),
        (lambda names, files: names.pop("lm_head.weight"), "the index does not say so"),
        (lambda names, files: names.update({"extra": files[2]}), "must hold extra, as the index"),
        (lambda names, files: names.update({"lm_head.weight": "../c/x.bin"}),
         "of the same folder, not '../c/x.bin'"),
        (lambda names, files: names.update({"lm_head.weight": 4}), "of the same folder, not 4"),
        (lambda names, files: names.update({"lm_head.weight": "absent.bin"}),
         "names absent.bin; there is none"),
        (lambda names, files: names.clear(), "must hold weight_map"),
    ],
)
def test_a_wrong_index(tmp_path, kind, change, message):
    refused(_index(tmp_path, kind, change), message)


def test_a_missing_shard(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", state(), shards=3)
    (shard,) = checkpoint.glob("*-00003-*")
    shard.unlink()
    refused(checkpoint, f"names {shard.name}; there is none")


def test_a_tensor_in_two_shards(tmp_path):
    tensors = state()
    checkpoint = write_checkpoint(tmp_path / "c", tensors, shards=2)
    for path in checkpoint.glob("*.index.json"):
        path.unlink()
    again = {"weight_map": {}}
    for shard in checkpoint.glob("*.bin"):
        held = torch.load(shard, weights_only=True) | {"lm_head.weight": tensors["lm_head.weight"]}
        torch.save(held, shard)
        again["weight_map"] |= dict.fromkeys(held, shard.name)
    (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps(again))
    refused(checkpoint, "holds lm_head.weight; the index does not say so")


@pytest.mark.parametrize("text", ["", "[", "[]", '{"weight_map": []}', '{"a": 1, "a": 2}'])
def test_an_index_that_is_none(tmp_path, text):
    checkpoint = write_checkpoint(tmp_path / "c", state(), shards=2)
    (checkpoint / "pytorch_model.bin.index.json").write_text(text)
    refused(checkpoint, "index.json must (be valid JSON|hold weight_map)")


def test_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="a checkpoint is a folder; there is none at"):
        import_checkpoint(tmp_path / "none", tmp_path / "m")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match=r"must hold one of model.safetensors, pytorch_model.bin"):
        import_checkpoint(tmp_path / "c", tmp_path / "m")
    torch.save({}, tmp_path / "c" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"a checkpoint folder must hold config.json"):
        import_checkpoint(tmp_path / "c", tmp_path / "m")
