import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from golden.config import FBI_LINEARS, ModelConfig, linear_key
from golden.errors import InputError
from golden.folder import METADATA
from golden.pack import unpack_signs
from model import files
from model.export import export_packed
from model.fbi import FbiLlm
from model.packed import load_float

from .replaced import watch
from .tiny import CONFIG


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = FbiLlm(replace(CONFIG, intermediate_size=21))  # not a multiple of 8
    with torch.no_grad():
        first = model.model.layers[0].self_attn.q_proj
        first.weight[0, :3] = torch.tensor([0.0, -0.0, 1e-30])  # an fp16 cast would lose the last
        first.wscale[0, 1] = -0.25
    return model


def test_folder_holds_what_the_format_says(model, tmp_path):
    folder = export_packed(
        model.state_dict(),
        model.config,
        tmp_path / "m",
        extra_files={"tokenizer.json": "{}"},
        extra_config={"trained_steps": 3},
    )
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    data = json.loads((folder / "config.json").read_text())
    assert (data["format"], data["trained_steps"]) == ("signacc-packed", 3)
    assert ModelConfig.from_folder(folder) == model.config
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {
            "format": "signacc-packed",
            "version": "1",
            "bit_order": "lsb-first",
            "polarity": "1=+1",
            "latent_zeros": "2",
        }
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for layer in range(2):
        for name in FBI_LINEARS:
            prefix = linear_key(layer, name)
            linear = model.get_submodule(prefix)
            signs = unpack_signs(tensors.pop(f"{prefix}.signs"), linear.weight.shape[1])
            assert torch.equal(signs > 0, linear.weight >= 0)
            assert torch.equal(tensors.pop(f"{prefix}.scale_in"), linear.wscale[0].half())
            assert torch.equal(tensors.pop(f"{prefix}.shift_in"), linear.wbias[0].half())
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert "lm_head.weight" in tensors


def test_float_model_read_back_computes_the_same(model, tmp_path):
    folder = export_packed(model.state_dict(), model.config, tmp_path / "m")
    rounded = FbiLlm(model.config)
    state = {n: p if n.endswith("proj.weight") else p.half().float()
             for n, p in model.state_dict().items()}  # fmt: skip
    state["model.layers.0.self_attn.q_proj.weight"][0, :2] = 1.0  # a latent 0 is packed as +1
    rounded.load_state_dict(state)
    tokens = torch.randint(0, 16, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(load_float(folder)(tokens), rounded(tokens), atol=1e-5)


def test_export_replaces_a_folder_and_leaves_nothing_beside_it(model, tmp_path):
    for _ in range(2):
        export_packed(model.state_dict(), model.config, tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_the_same_model_is_the_same_file_in_every_process(model, tmp_path):
    """The library orders a header's metadata anew whenever it writes: five keys, 120 orders."""
    files = set()
    for number in range(6):
        folder = export_packed(model.state_dict(), model.config, tmp_path / str(number))
        files.add((folder / "model.safetensors").read_bytes())
    (content,) = files
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert list(metadata) == sorted(metadata)
    assert metadata == METADATA | {"latent_zeros": "2"}
    assert size % 8 == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lm_head.weight", None, "must hold lm_head.weight; it does not"),
        ("model.norm.weight", torch.zeros(3), r"norm.weight must have shape \(16,\), not \(3,\)"),
        ("model.norm.weight", torch.full((16,), 1e6), "must be finite in fp16"),
        ("lm_head.weight", torch.full((16, 16), torch.nan), "must be finite in fp16"),
    ],
)
def test_a_model_that_cannot_be_packed_leaves_the_folder_as_it_was(
    model, tmp_path, name, value, message
):
    folder = export_packed(model.state_dict(), model.config, tmp_path / "m")
    before = (folder / "model.safetensors").read_bytes()
    state = dict(model.state_dict())
    if value is None:
        del state[name]
    else:
        state[name] = value
    with pytest.raises(InputError, match=message):
        export_packed(state, model.config, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("another", [False, True])
def test_a_folder_that_cannot_be_put_in_place(model, tmp_path, monkeypatch, another):
    """The model that was there is put back; or another call's, that was quicker, stays."""
    folder = export_packed(model.state_dict(), model.config, tmp_path / "m")
    before = (folder / "model.safetensors").read_bytes()
    replace = os.replace

    def fails(source, target):
        if Path(target) == folder and not Path(source).name.endswith(".old"):
            if another:
                folder.mkdir()
                (folder / "model.safetensors").write_bytes(before + b"of the other")
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="Input/output error"):
        export_packed(model.state_dict(), model.config, folder)
    found = (folder / "model.safetensors").read_bytes()
    assert found == before + (b"of the other" if another else b"")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_model_is_there_at_every_moment_of_its_replacement(model, tmp_path, monkeypatch):
    """Whoever is killed between two steps leaves a whole model at the name."""
    folder = export_packed(model.state_dict(), model.config, tmp_path / "m")
    watch(monkeypatch, lambda: load_float(folder))
    with torch.no_grad():
        model.lm_head.weight += 1
    export_packed(model.state_dict(), model.config, folder)
    new = load_float(folder).lm_head.weight
    assert torch.equal(new, model.lm_head.weight.half().float())
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
