"""Published checkpoints: what is taken from them, and what is refused."""

import json

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
from .refusal import refused


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
    transformers = pytest.importorskip("transformers")
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
    refused(write_checkpoint(tmp_path / "c", tensors, kind=kind, shards=2), message)


def test_sparse_and_absent_data(tensors, tmp_path):
    tensors[f"{Q0}.weight"] = torch.eye(24).to_sparse()
    checkpoint = tmp_path / "c"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps(CONFIG))
    torch.save(tensors, checkpoint / "pytorch_model.bin")
    refused(checkpoint, f"{Q0}.weight must be dense float32 .*torch.sparse_coo")
    tensors[f"{Q0}.weight"] = torch.ones(24, 24, device="meta")
    torch.save(tensors, checkpoint / "pytorch_model.bin")
    refused(checkpoint, f"{Q0}.weight must be dense float32 .*meta")


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", state())
    for output in (checkpoint, tmp_path):
        with pytest.raises(InputError, match="must be a new folder or a packed model to replace"):
            import_checkpoint(checkpoint, output)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"a model is written as a folder; .* is something else"):
        import_checkpoint(checkpoint, tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "file"]
