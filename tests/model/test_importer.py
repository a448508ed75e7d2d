"""Published checkpoints: what is taken from them, and what is refused."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from golden.errors import InputError
from golden.folder import load_packed
from golden.model import GoldenModel
from model.export import export_packed
from model.importer import import_checkpoint
from model.packed import load_float

from ..packed_folder import write_packed_folder
from .published_files import CONFIG, SHAPES, folded, llama, state, write_checkpoint


@pytest.fixture
def tensors():
    found = state()
    found["model.layers.0.self_attn.q_proj.weight"][0, :3] = torch.tensor([0.0, -0.0, 1e-30])
    return found


KINDS = [("bin", 1), ("bin", 3), ("safetensors", 1), ("safetensors", 4)]


@pytest.mark.parametrize(("kind", "shards"), KINDS)
def test_every_kind_of_file_gives_the_same_model(tensors, tmp_path, kind, shards):
    checkpoint = write_checkpoint(tmp_path / "c", tensors, kind=kind, shards=shards)
    steps = []
    report = import_checkpoint(
        checkpoint, tmp_path / "m", progress=lambda done, total: steps.append((done, total))
    )
    count = len(tensors) - 2
    assert (report.shards, report.tensors, report.dropped) == (shards, count, 2)
    assert (report.latent_zeros, report.tokenizer) == (2, False)
    assert steps == [(i + 1, count) for i in range(count)]
    packed = load_packed(tmp_path / "m")
    assert packed.metadata["latent_zeros"] == "2"
    assert (packed.config.bos_token_id, packed.config.eos_token_id) == (1, 2)
    for i in range(2):
        for name, (_, inputs) in SHAPES.items():
            key = f"model.layers.{i}.{name}"
            linear = packed.linears[i][name.partition(".")[2]]
            bits = np.unpackbits(linear.signs, axis=1, count=inputs, bitorder="little")
            assert np.array_equal(bits == 1, (tensors[f"{key}.weight"] >= 0).numpy())
            assert np.array_equal(linear.scale_in, tensors[f"{key}.wscale"][0].numpy())
            assert np.array_equal(linear.shift_in, tensors[f"{key}.wbias"][0].numpy())
    assert np.array_equal(packed.head, tensors["lm_head.weight"].numpy())


def test_signs_are_of_fp32(tmp_path):
    """A latent that fp16 would flush to zero keeps its sign."""
    tensors = state()
    tensors["model.layers.1.mlp.up_proj.weight"].copy_(torch.full((36, 24), -1e-30))
    import_checkpoint(write_checkpoint(tmp_path / "c", tensors), tmp_path / "m")
    assert not load_packed(tmp_path / "m").linears[1]["up_proj"].signs.any()


TOKENS = torch.randint(0, 40, (20,), generator=torch.Generator().manual_seed(3))


def test_forward_is_that_of_llama_with_folded_weights(tensors, tmp_path):
    import_checkpoint(write_checkpoint(tmp_path / "c", tensors, shards=2), tmp_path / "m")
    want = llama(folded(tensors), TOKENS)
    found = load_float(tmp_path / "m")(TOKENS[None])[0]
    assert torch.allclose(found.double(), want, rtol=1e-4, atol=1e-4)
    golden = GoldenModel.from_folder(tmp_path / "m", act_bits=24)(TOKENS[None])[0]
    assert (golden.double() - want).abs().max() < 0.01 * want.abs().max()


def test_forward_is_that_of_transformers(tensors, tmp_path):
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    config = transformers.LlamaConfig(
        **{k: v for k, v in CONFIG.items() if k not in ("architectures", "torch_dtype")}
    )
    reference = transformers.LlamaForCausalLM(config).eval()
    reference.load_state_dict(folded(tensors))
    with torch.no_grad():
        want = reference(TOKENS[None]).logits
    import_checkpoint(write_checkpoint(tmp_path / "c", tensors), tmp_path / "m")
    assert torch.allclose(load_float(tmp_path / "m")(TOKENS[None]), want, rtol=1e-4, atol=1e-4)


def test_an_imported_model_is_what_an_exported_one_is(tensors, tmp_path):
    """Through shards and from memory: the same tensors."""
    import_checkpoint(write_checkpoint(tmp_path / "c", tensors, shards=3), tmp_path / "a")
    config = load_packed(tmp_path / "a").config
    plain = {name: t for name, t in tensors.items() if "inv_freq" not in name}
    export_packed(plain, config, tmp_path / "b")
    first, second = (load_file(tmp_path / m / "model.safetensors") for m in "ab")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


# ---- tokenizers ---------------------------------------------------------------------------------


def test_a_tokenizer_comes_along(tensors, tmp_path):
    folder = write_packed_folder(tmp_path / "other")  # its tokenizer has 29 words
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    given = folder / "tokenizer.json"
    report = import_checkpoint(checkpoint, tmp_path / "m", tokenizer=given)
    assert report.tokenizer
    assert (tmp_path / "m" / "tokenizer.json").read_text() == given.read_text()
    (checkpoint / "tokenizer.json").write_text(given.read_text())
    import_checkpoint(checkpoint, tmp_path / "n")
    assert (tmp_path / "n" / "tokenizer.json").read_text() == given.read_text()


def test_a_tokenizer_of_another_vocabulary(tensors, tmp_path):
    wide = write_packed_folder(tmp_path / "w", config={**CONFIG, "head_dim": 6, "vocab_size": 41})
    with pytest.raises(InputError, match="model's vocabulary of 40 tokens; it has a token 40"):
        import_checkpoint(write_checkpoint(tmp_path / "c", tensors), tmp_path / "m", tokenizer=wide)
    assert not (tmp_path / "m").exists()


# ---- what is refused ----------------------------------------------------------------------------

Q0 = "model.layers.0.self_attn.q_proj"


def _without(name):
    return lambda t: t.pop(name)


def _with(name, value):
    return lambda t: t.update({name: value})


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without(f"{Q0}.wbias"), rf"1 missing in .*, first {Q0}.wbias"),
        (_without("lm_head.weight"), "1 missing in .*, first lm_head.weight"),
        (_with("model.layers.2.mlp.up_proj.weight", torch.ones(2)),
         "model.layers.2.mlp.up_proj.weight is no tensor of this model"),
        (_with(f"{Q0}.bias", torch.ones(24)), f"{Q0}.bias is no tensor of this model"),
        (_with(f"{Q0}.weight", torch.ones(24, 23)),
         rf"{Q0}.weight must have shape \(24, 24\), not \(24, 23\)"),
        (_with(f"{Q0}.wscale", torch.ones(24, 1)),
         rf"{Q0}.wscale must have shape \(1, 24\), not \(24, 1\)"),
        (_with("model.embed_tokens.weight", torch.ones(39, 24)),
         r"model.embed_tokens.weight must have shape \(40, 24\), not \(39, 24\)"),
        (_with(f"{Q0}.weight", torch.ones(24, 24).half()),
         f"{Q0}.weight must be dense float32 .*, not torch.float16"),
        (_with(f"{Q0}.weight", torch.full((24, 24), torch.nan)), f"{Q0}.weight must be finite"),
        (_with(f"{Q0}.weight", torch.full((24, 24), torch.inf)), f"{Q0}.weight must be finite"),
        (_with(f"{Q0}.wscale", torch.full((1, 24), torch.nan)),
         f"{Q0}.wscale must be finite in fp16"),
        (_with("lm_head.weight", torch.full((40, 24), 1e5)),
         "lm_head.weight must be finite in fp16"),
    ],
)
def test_tensors_that_do_not_fit(tensors, tmp_path, kind, change, message):
    change(tensors)
    _refused(write_checkpoint(tmp_path / "c", tensors, kind=kind, shards=2), message)


def _refused(checkpoint: Path, message: str) -> None:
    """Importing is refused with `message`, and what was at the output stays."""
    output = checkpoint.parent / "m"
    write_packed_folder(output, {**CONFIG, "head_dim": 6, "format": "signacc-packed"})
    before = {p.name: p.read_bytes() for p in output.iterdir()}
    with pytest.raises(InputError, match=message):
        import_checkpoint(checkpoint, output)
    assert {p.name: p.read_bytes() for p in output.iterdir()} == before
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == ["c", "m"]


def test_sparse_and_absent_data(tensors, tmp_path):
    tensors[f"{Q0}.weight"] = torch.eye(24).to_sparse()
    checkpoint = tmp_path / "c"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps(CONFIG))
    torch.save(tensors, checkpoint / "pytorch_model.bin")
    _refused(checkpoint, f"{Q0}.weight must be dense float32 .*torch.sparse_coo")
    tensors[f"{Q0}.weight"] = torch.ones(24, 24, device="meta")
    torch.save(tensors, checkpoint / "pytorch_model.bin")
    _refused(checkpoint, f"{Q0}.weight must be dense float32 .*meta")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral"}, 'model_type must be "llama", not \'mistral\''),
        ({"hidden_act": "gelu"}, 'hidden_act must be "silu"'),
        ({"attention_bias": True}, "attention_bias must be false, not True"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling must be null"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type must be default, not 'yarn'"),
        ({"num_attention_heads": 5}, "hidden_size must be a multiple of num_attention_heads"),
        ({"hidden_size": None}, "hidden_size must be a positive integer"),
    ],
)
def test_a_configuration_that_is_none_of_ours(tensors, tmp_path, change, message):
    _refused(write_checkpoint(tmp_path / "c", tensors, config=CONFIG | change), message)


@pytest.mark.parametrize("key", ["rms_norm_eps", "max_position_embeddings", "hidden_size"])
def test_a_configuration_without_what_it_must_say(tensors, tmp_path, key):
    config = {k: v for k, v in CONFIG.items() if k != key}
    _refused(write_checkpoint(tmp_path / "c", tensors, config=config), key)


def test_configurations_of_other_versions_of_transformers(tensors, tmp_path):
    """Without key-value heads (before 4.31); RoPE settings in one object (from 5.0)."""
    old = {k: v for k, v in CONFIG.items() if k not in ("num_key_value_heads", "rope_theta")}
    new = {k: v for k, v in CONFIG.items() if k not in ("rope_theta", "rope_scaling")}
    new["rope_parameters"] = {"rope_theta": 5000.0, "rope_type": "default"}
    for name, config, theta in (("old", old, 10000.0), ("new", new, 5000.0)):
        checkpoint = write_checkpoint(tmp_path / name, tensors, config=config)
        report = import_checkpoint(checkpoint, tmp_path / "m")
        assert (report.config.num_key_value_heads, report.config.rope_theta) == (4, theta)


# ---- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9, -1])
def test_a_truncated_shard(tensors, tmp_path, kind, keep):
    checkpoint = write_checkpoint(tmp_path / "c", tensors, kind=kind, shards=3)
    (shard,) = checkpoint.glob("*-00002-*")
    data = shard.read_bytes()
    shard.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else keep])
    _refused(checkpoint, rf"{shard.name} must be a complete (safetensors file|file of torch.save)")


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
    _refused(checkpoint, "pytorch_model.bin is damaged: the checksum of .* does not hold")


def test_a_compressed_archive(tensors, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", tensors)
    shard = checkpoint / "pytorch_model.bin"
    with zipfile.ZipFile(shard) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    with zipfile.ZipFile(shard, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    _refused(checkpoint, "must be a file of torch.save; .* in it is compressed")


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
    _refused(checkpoint, "must hold tensors alone; .* Nothing in it was executed")
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
    _refused(checkpoint, message)


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
    _refused(_index(tmp_path, kind, change), message)


def test_a_missing_shard(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", state(), shards=3)
    (shard,) = checkpoint.glob("*-00003-*")
    shard.unlink()
    _refused(checkpoint, f"names {shard.name}; there is none")


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
    _refused(checkpoint, "holds lm_head.weight; the index does not say so")


@pytest.mark.parametrize("text", ["", "[", "[]", '{"weight_map": []}'])
def test_an_index_that_is_none(tmp_path, text):
    checkpoint = write_checkpoint(tmp_path / "c", state(), shards=2)
    (checkpoint / "pytorch_model.bin.index.json").write_text(text)
    _refused(checkpoint, "index.json must (be valid JSON|hold weight_map)")


def test_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="a checkpoint is a folder; there is none at"):
        import_checkpoint(tmp_path / "none", tmp_path / "m")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match=r"must hold one of model.safetensors, pytorch_model.bin"):
        import_checkpoint(tmp_path / "c", tmp_path / "m")
    torch.save({}, tmp_path / "c" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"a checkpoint folder must hold config.json"):
        import_checkpoint(tmp_path / "c", tmp_path / "m")


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", state())
    for output in (checkpoint, tmp_path):
        with pytest.raises(InputError, match="must be a new folder or a packed model to replace"):
            import_checkpoint(checkpoint, output)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"a model is written as a folder; .* is something else"):
        import_checkpoint(checkpoint, tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "file"]
