"""Memory images: what export writes is what the engine's stream order says, and reads back."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest
from click.testing import CliRunner

from golden.errors import InputError
from golden.folder import load_packed
from hw.axi.config import AxiConfig
from hw.config import ConfigError, EngineConfig, named_preset
from hw.streams import weight_beats
from signacc.cli import main
from signacc.image import ALIGNMENT, BINARY, INDEX, export_image, read_image

from ..packed_folder import write_packed_folder

CONFIGS = [
    EngineConfig(name="direct", k_par=8, n_par=4, k_max=64, n_max=64),
    EngineConfig(
        name="tables", k_par=12, n_par=6, k_max=64, n_max=64, structure="tables", group=3
    ),
    EngineConfig(
        name="odd", k_par=3, n_par=5, k_max=64, n_max=64, ternary=True
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_packed_folder(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_an_image_reads_back(folder, tmp_path, config):
    packed = load_packed(folder)
    steps = []
    layers = export_image(folder, config, tmp_path, progress=lambda *step: steps.append(step))
    assert steps == [(i + 1, len(layers)) for i in range(len(layers))]
    linears = [linear for group in packed.linears for linear in group.values()]
    assert len(layers) == len(linears) == 7 * len(packed.linears)
    for linear, (layer, signs, scale, shift) in zip(linears, read_image(tmp_path), strict=True):
        assert (layer.k, layer.n) == (len(linear.scale_in), len(linear.signs))
        np.testing.assert_array_equal(signs, linear.signs)
        np.testing.assert_array_equal(scale.view(np.uint16), linear.scale_in.view(np.uint16))
        np.testing.assert_array_equal(shift.view(np.uint16), linear.shift_in.view(np.uint16))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_beats_stand_as_the_engine_takes_them(folder, tmp_path, config):
    packed = load_packed(folder)
    layers = export_image(folder, config, tmp_path)
    data = (tmp_path / BINARY).read_bytes()
    end = 0
    linears = [linear for group in packed.linears for linear in group.values()]
    for layer, linear in zip(layers, linears, strict=True):
        beats = weight_beats(config, linear.signs, layer.k)
        assert layer.beats == config.beats(layer.k, layer.n) == len(beats)
        assert layer.weight_bytes == beats.size
        found = data[layer.weight_offset : layer.weight_offset + layer.weight_bytes]
        assert found == beats.tobytes()
        assert layer.coef_offset % ALIGNMENT == layer.weight_offset % ALIGNMENT == 0
        assert end <= layer.coef_offset < layer.coef_offset + 4 * layer.k <= layer.weight_offset
        first = np.frombuffer(data, "<u2", 2, layer.coef_offset)
        assert first.tolist() == [
            linear.scale_in.view(np.uint16)[0], linear.shift_in.view(np.uint16)[0]
        ]
        end = layer.weight_offset + layer.weight_bytes
    assert len(data) - end < ALIGNMENT


def test_layers_begin_at_whole_beats_of_every_bus():
    widest = AxiConfig(memory=True, axi_data_bits=1024)
    with pytest.raises(ConfigError):
        AxiConfig(memory=True, axi_data_bits=2048)
    assert ALIGNMENT % widest.data_bytes == 0


def test_a_layer_that_does_not_fit_is_refused_and_nothing_is_written(folder, tmp_path):
    small = EngineConfig(name="small", k_par=2, n_par=2, k_max=8, n_max=64)
    with pytest.raises(ConfigError, match="K must be from 1 to 8 on engine small, not"):
        export_image(folder, small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_is_noticed(folder, tmp_path):
    export_image(folder, CONFIGS[0], tmp_path)
    binary = tmp_path / BINARY
    data = bytearray(binary.read_bytes())
    data[100] ^= 1
    binary.write_bytes(data)
    with pytest.raises(InputError, match=r"is not the file that image\.json describes"):
        next(read_image(tmp_path))
    index = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps(index | {"version": 9}))
    with pytest.raises(InputError, match="must be of format signacc-image, version 1"):
        next(read_image(tmp_path))
    binary.write_bytes(bytes(len(data)))
    zeros = index | {"sha256": sha256(bytes(len(data))).hexdigest()}
    for change, message in (
        ({"layers": None}, "must have a list of layers, not None"),
        ({"layers": [3]}, "layer 0 of .* must lie within image.bin and fit its engine"),
        ({"layers": [index["layers"][0] | {"weight_offset": 10**9}]}, "layer 0 of .* must lie"),
        ({"layers": [index["layers"][0] | {"k": 65}]}, "layer 0 of .* must lie"),
        ({"engine": None}, "engine in .* must be a JSON object, not NoneType"),
    ):
        (tmp_path / INDEX).write_text(json.dumps(zeros | change))
        with pytest.raises(InputError, match=message):
            next(read_image(tmp_path))
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(InputError, match="must be valid JSON"):
        next(read_image(tmp_path))
    with pytest.raises(InputError, match="cannot read"):
        next(read_image(tmp_path / "nowhere"))


def test_command(folder, tmp_path):
    output = tmp_path / "image"
    result = CliRunner().invoke(
        main, ["export", "--model", str(folder), "--preset", "tiny", "-o", str(output), "--json"]
    )
    assert result.exit_code == 0, result.output
    entries = json.loads(result.stdout)
    tiny = named_preset("tiny")
    assert sum(e["beats"] for e in entries) == sum(tiny.beats(e["k"], e["n"]) for e in entries)
    text = CliRunner().invoke(
        main, ["export", "--model", str(folder), "--preset", "tiny", "-o", str(output)]
    )
    assert text.exit_code == 0
    assert "% of their bits are weights of the model" in text.stdout
    bad = CliRunner().invoke(main, ["export", "--model", str(folder), "-o", str(output)])
    assert bad.exit_code == 2
