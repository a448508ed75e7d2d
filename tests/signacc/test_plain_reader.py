"""What export, import and generate write and say, against a reader that shares no code."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from golden.config import ModelConfig
from model.export import export_packed
from model.fbi import FbiLlm
from signacc.cli import main

from ..plain_reader import folder_weights, gguf_weights, greedy, read_gguf, read_safetensors

# Rows of 12 and 43 bits: neither is whole bytes; a head wider than hidden / heads; shared keys.
ODD = {
    "hidden_size": 12, "intermediate_size": 43, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "vocab_size": 61, "head_dim": 6, "max_position_embeddings": 40,
    "rms_norm_eps": 1e-3, "rope_theta": 500.0, "tie_word_embeddings": False,
}
# The same with one table, a layer of one head.
TIED = ODD | {
    "tie_word_embeddings": True, "num_attention_heads": 1, "num_key_value_heads": 1,
    "num_hidden_layers": 1, "head_dim": 14,
}
# Rows of whole blocks of GGUF, for q, k, v, o and the feed-forward part.
BLOCKS = ODD | {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 4,
                "num_key_value_heads": 2, "head_dim": 64}  # fmt: skip
BLOCKS_TIED = BLOCKS | {"tie_word_embeddings": True, "num_hidden_layers": 2, "head_dim": 32}
PROMPT = [7, 3, 50]
MARGIN = 2e-3
"""Of float64 logits; float32 ones are off by less, so that the likeliest token is the same."""


def latent(config: ModelConfig, kind: str, seed: int) -> dict[str, torch.Tensor]:
    """A random model's parameters by published name, with scales of a kind."""
    torch.manual_seed(seed)
    state = FbiLlm(config).state_dict()
    for name, value in state.items():
        if name.endswith("norm.weight"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("embed_tokens.weight"):
            value.normal_(std=0.03)  # so that the layers decide, not the token itself
        elif name.endswith("lm_head.weight"):
            value.normal_()
        elif name.endswith(".weight"):
            value[0, 0], value[-1, -1] = 0.0, -0.0  # these become +1
        elif name.endswith(("wscale", "wbias")):
            width = value.shape[-1]
            value.normal_().mul_((1.0 if name.endswith("wscale") else 0.3) / width**0.5)
            if kind == "positive":
                value.abs_()
            elif kind == "extreme":  # zeros, float16's smallest, and what is rounded to it
                value[0, :4] = torch.tensor([0.0, 2.0**-24, -(2.0**-24), 5e-8])
            elif kind == "constant":
                value.fill_(value[0, 0].item())
    return state


def written(tmp_path, shape, kind):
    """A folder that export wrote, and its model: of some seeds that whose text tells most."""
    best = (0, 0)
    for seed in range(12):
        folder, _ = written_of(tmp_path, shape, kind, seed)
        tokens, margin = greedy(folder_weights(folder), shape, PROMPT, 20)
        if margin > MARGIN:
            best = max(best, (len(set(tokens)), seed))
    # With one table a random model may repeat a token for ever; then its weights alone tell.
    least = 1 if shape["tie_word_embeddings"] else 2
    assert best[0] >= least, "no seed leaves float32 no doubt and writes enough tokens"
    return written_of(tmp_path, shape, kind, best[1])


def written_of(tmp_path, shape, kind, seed):
    config = ModelConfig(**shape)
    state = latent(config, kind, seed)
    tokenizer = Tokenizer(WordLevel({f"w{i}": i for i in range(61)}, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    folder = export_packed(
        state, config, tmp_path / "m", extra_files={"tokenizer.json": tokenizer.to_str()}
    )
    return folder, state


def said(folder, arithmetic="float"):
    result = CliRunner().invoke(main, [
        "generate", "--model", str(folder), "--prompt", " ".join(f"w{i}" for i in PROMPT),
        "--write", "20", "--temperature", "0", "--arithmetic", arithmetic, "--json",
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["tokens"]


def told(weights, config):
    """The plain decoder's 20 tokens, of which float32 can leave no doubt."""
    tokens, margin = greedy(weights, config, PROMPT, 20)
    assert margin > MARGIN, "too near to tell: another seed"
    return tokens


def matrix(state, name):
    """W~ as published: scale times sign plus shift, of float16 scales, 0 as +1."""
    value = state[name].double().numpy()
    key = name.removesuffix(".weight")
    if f"{key}.wscale" not in state:
        return value.astype(np.float16).astype(np.float64)
    scale, shift = (
        state[f"{key}.{part}"].numpy().astype(np.float16).astype(np.float64)
        for part in ("wscale", "wbias")
    )
    return scale * np.where(value >= 0, 1.0, -1.0) + shift


def check_weights(found, state, tied):
    names = {name for name in state if name.endswith(".weight")}
    assert found.keys() == names - ({"lm_head.weight"} if tied else set())
    for name, value in found.items():
        np.testing.assert_array_equal(value, matrix(state, name), err_msg=name)


KINDS = ("any", "positive", "extreme", "constant")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [ODD, TIED, BLOCKS], ids=["odd", "tied", "blocks"])
def test_a_packed_folder(tmp_path, shape, kind):
    folder, state = written(tmp_path, shape, kind)
    weights = folder_weights(folder)
    check_weights(weights, state, shape["tie_word_embeddings"])
    config = json.loads((folder / "config.json").read_text())
    tokens = told(weights, config)
    assert said(folder) == said(folder, "packed") == tokens
    _, metadata = read_safetensors(folder / "model.safetensors")
    zeros = sum(
        int((value == 0).sum()) for name, value in state.items()
        if name.replace(".weight", ".wscale") in state and name.endswith(".weight")
    )
    assert int(metadata["latent_zeros"]) == zeros > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [BLOCKS, BLOCKS_TIED], ids=["two tables", "one table"])
def test_a_gguf_file_and_back(tmp_path, shape, kind):
    pytest.importorskip("gguf")
    folder, state = written(tmp_path, shape, kind)
    file, back = tmp_path / "m.gguf", tmp_path / "back"
    for arguments in (
        ["export", "--model", folder, "--format", "gguf", "-o", file], ["import", file, "-o", back],
    ):
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
    weights = gguf_weights(file)
    check_weights(weights, state, shape["tie_word_embeddings"])
    tensors, keys = read_gguf(file)
    signs = [value for name, value in tensors.items()
             if name.startswith("blk.") and value.ndim == 2]
    assert len(signs) == 7 * shape["num_hidden_layers"]
    assert all(set(np.unique(value)) == {-1.0, 1.0} for value in signs), "every d is 1"
    config = json.loads(keys["signacc.config"])
    assert config == json.loads((folder / "config.json").read_text())
    tokens = told(weights, config)
    assert said(folder) == said(back) == tokens
    check_weights(folder_weights(back), state, shape["tie_word_embeddings"])
