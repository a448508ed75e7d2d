"""The register map and what is made from it: each file is read back and held to the map."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw.axi.config import AxiConfig
from hw.axi.descriptors import SLOTS
from hw.axi.fields import ADDRESS_BITS, Access, Field, Register, check_map
from hw.axi.formats import c_header, markdown_table, python_constants, system_rdl
from hw.axi.registers import (
    INTERFACE_VERSION,
    REGISTERS,
    STRUCTURE_NUMBERS,
    describe,
    registers_of,
)
from hw.config import PRESETS, STRUCTURES, ConfigError
from hw.streams import weight_beats

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "axi.md"
WORDS = {name: offset for register in REGISTERS for name, offset in register.words}


def field(name="a", low=0, width=1, access=Access.CONTROL, **more):
    return Field(name, low, width, access, "text", **more)


def register(name, offset, *fields):
    return Register(name, offset, "text", fields or (field(),))


@pytest.mark.parametrize(
    ("registers", "message"),
    [
        ([register("A", 2)], "offset of A must be a multiple of 4 below 256, not 2"),
        ([register("A", 256)], "offset of A must be a multiple of 4 below 256, not 256"),
        (
            [register("A", 4, field(width=64, access=Access.COUNTER)), register("B", 8)],
            "every word must have its own offset, not 0x8 for both A_HI and B",
        ),
        (
            [register("A", 0, field(low=30, width=3))],
            "A.a must lie within 32 bits, not at 30 with width 3",
        ),
        ([register("A", 0, field(width=0))], "A.a must lie within 32 bits, not at 0 with width 0"),
        (
            [register("A", 0, field(width=4), field("b", low=3))],
            "fields of A must not overlap: b",
        ),
        (
            [register("A", 0, field(access=Access.CONSTANT))],
            "A.a must have a constant if and only if it is one",
        ),
        (
            [register("A", 0, field(constant=lambda c, a: 1))],
            "A.a must have a constant if and only if it is one",
        ),
    ],
)
def test_rules_of_a_map(registers, message):
    with pytest.raises(ConfigError) as error:
        check_map(tuple(registers))
    assert str(error.value) == message


def test_constants_are_those_of_the_configuration():
    config = replace(PRESETS["kv260"], clock_mhz=1.0)
    words = {w["name"]: w["fields"][0]["reset"] for w in describe(config, AxiConfig(memory=True))}
    assert words["ID"].to_bytes(4, "little") == b"SACC"
    for name in ("k_par", "n_par", "m_par", "act_bits", "k_max", "n_max", "act_par", "out_par"):
        assert words[name.upper()] == getattr(config, name)
    assert words["AXI_DATA_BITS"] == 128
    words = {w["name"]: w["fields"][0]["reset"] for w in describe(config, AxiConfig())}
    assert words["AXI_DATA_BITS"] == 0
    assert words["WEIGHT_WORDS"] == 0


@pytest.mark.parametrize(
    ("changes", "features"),
    [
        ({}, {"structure": 0, "group": 1}),
        (
            {"structure": "tables", "group": 2, "ternary": True, "scale_out": "row"},
            {"structure": 2, "group": 2, "ternary": 1, "scale_row": 1, "words_outer": 1},
        ),
        (
            {"structure": "shared", "group": 4, "scale_out": "groups", "weights": "memory",
             "weight_words": 77},
            {"structure": 1, "group": 4, "scale_groups": 1, "resident": 1},
        ),
        ({"structure": "triple", "act_format": "bf16"}, {"structure": 3, "group": 1, "bf16": 1}),
    ],
)
def test_features_are_those_of_the_configuration(changes, features):
    config = replace(PRESETS["tiny"], **changes)
    words = {w["name"]: w["fields"] for w in describe(config, AxiConfig())}
    seen = {f["name"]: f["reset"] for f in words["FEATURES"]}
    assert {name: value for name, value in seen.items() if value} == {
        name: value for name, value in features.items() if value
    }
    assert words["WEIGHT_WORDS"][0]["reset"] == config.weight_words


STREAMS = {"K", "N", "M", "COEF_FRAMES", "WEIGHT_FRAMES"}
MEMORY = {"LIST_LO", "LIST_HI", "LIST_COUNT"}


@pytest.mark.parametrize(
    ("changes", "streams", "memory"),
    [
        ({}, set(), set()),
        ({"scale_out": "row"}, {"SCALE_FRAMES", "STALL_SCALE"}, {"STALL_SCALE"}),
        ({"scale_out": "groups"}, {"SCALE_FRAMES", "STALL_SCALE", "S"}, {"STALL_SCALE"}),
        ({"weights": "memory", "weight_words": 9}, {"W"}, set()),
    ],
)
def test_each_kind_of_core_has_its_registers(changes, streams, memory):
    config = replace(PRESETS["tiny"], **changes)
    names = [
        {r.name for r in registers_of(config, AxiConfig(memory=kind))} for kind in (False, True)
    ]
    always = {r.name for r in REGISTERS if r.only is None}
    assert names == [always | STREAMS | streams, always | MEMORY | memory]


def test_words_fit_the_decoder():
    assert max(WORDS.values()) + 4 <= 1 << ADDRESS_BITS


def test_the_c_header_compiles_and_says_the_same(tmp_path):
    compiler = shutil.which("cc") or shutil.which("g++")
    assert compiler, "a C compiler is needed, as for Verilator"
    checks = [f'_Static_assert(SIGNACC_{name} == {at}, "");' for name, at in WORDS.items()]
    checks += [
        f'_Static_assert(SIGNACC_{r.name}_{f.name.upper()} == {f.mask}u, "");'
        for r in REGISTERS
        for f in r.fields
        if f.width < 32
    ]
    checks += [
        '_Static_assert(sizeof(struct signacc_descriptor) == 64, "");',
        *(
            f'_Static_assert(offsetof(struct signacc_descriptor, {s.name}) == {s.offset}, "");'
            for s in SLOTS
        ),
        '_Static_assert(SIGNACC_DESCRIPTOR_LOAD == 1u, "");',
    ]
    (tmp_path / "signacc.h").write_text(c_header())
    source = tmp_path / "check.c"
    text = '#include "signacc.h"\n#include <stddef.h>\n#include "signacc.h"\n' + "\n".join(checks)
    source.write_text(text + "\n")
    options = ["-std=c11", "-Wall", "-Werror", "-fsyntax-only", "-x", "c"]
    if compiler.endswith("g++"):
        options = ["-D_Static_assert=static_assert", "-Wall", "-Werror", "-fsyntax-only"]
    done = subprocess.run([compiler, *options, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    source.write_text(text + '\n_Static_assert(SIGNACC_CTRL == 0x31, "");\n')
    done = subprocess.run([compiler, *options, str(source)], capture_output=True, text=True)
    assert done.returncode != 0


def test_another_prefix():
    text = c_header(prefix="MINE")
    assert "#define MINE_CTRL 0x30" in text
    assert "SIGNACC" not in text


def test_the_python_constants_say_the_same():
    names: dict = {}
    exec(compile(python_constants(), "constants", "exec"), names)
    offsets = {k: v for k, v in vars(names["Offset"]).items() if not k.startswith("_")}
    assert offsets == WORDS
    for r in REGISTERS:
        narrow = {f.name.upper(): f.mask for f in r.fields if f.width < 32}
        if narrow:
            made = names["".join(part.capitalize() for part in r.name.split("_"))]
            assert {k: v for k, v in vars(made).items() if not k.startswith("_")} == narrow
    assert (names["DESCRIPTOR_BYTES"], names["DESCRIPTOR_LOAD"]) == (64, 1)


def test_the_system_rdl_has_every_word_and_field():
    text = system_rdl()
    words = re.findall(r"^    \} (\w+) @ (0x[0-9a-f]+);", text, re.MULTILINE)
    assert {name: int(offset, 16) for name, offset in words} == WORDS
    fields = re.findall(r"\} (\w+)\[(\d+):(\d+)\];", text)
    assert len(fields) == sum(len(r.fields) * len(r.words) for r in REGISTERS)
    assert text.count("{") == text.count("}")


def test_the_documentation_has_the_table():
    assert markdown_table() in DOCUMENT.read_text(encoding="utf-8")


def test_no_cell_of_the_table_is_cut_short():
    """A bar in a cell would begin another one, of which a reader sees nothing."""
    assert {line.count("|") for line in markdown_table().splitlines()} == {6}


def test_the_version_of_the_map_is_in_the_files():
    major, minor = INTERFACE_VERSION
    assert f"version of this register map, here {major}.{minor}:" in markdown_table()
    words = {w["name"]: w["fields"][0]["reset"] for w in describe(PRESETS["tiny"], AxiConfig())}
    assert words["VERSION"] == major << 16 | minor


@pytest.mark.parametrize(
    "changes",
    [
        {"structure": "direct"},
        {"structure": "direct", "ternary": True, "k_par": 7},
        {"structure": "shared", "group": 2, "n_par": 3},
        {"structure": "shared", "group": 3, "k_par": 9},
        {"structure": "shared", "group": 2, "ternary": True},
        {"structure": "tables", "group": 4},
        {"structure": "tables", "group": 3, "k_par": 15, "ternary": True},
        {"structure": "triple", "k_par": 6},
    ],
)
def test_weights_packed_from_the_page_alone_are_those_of_weight_beats(changes):
    config = replace(PRESETS["tiny"], act_par=1, **changes)
    (example,) = [
        text for text in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
        if "def weight_beat(" in text
    ]
    names: dict = {}
    exec(compile(example, "docs/axi.md", "exec"), names)
    fields = {
        f["name"]: f["reset"]
        for word in describe(config, AxiConfig()) if word["name"] == "FEATURES"
        for f in word["fields"]
    }
    random = np.random.default_rng(31)
    tiles, words = 3, 4
    k, n = config.k_par * words - 1, config.n_par * tiles - 1
    least = 0 if config.ternary else 1
    padded = np.ones((config.n_par * tiles, config.k_par * words), dtype=int)
    padded[:n, :k] = random.integers(least, 2, (n, k)) * random.choice((-1, 1), (n, k))
    beats = {
        (tile, word): names["weight_beat"](
            padded[
                tile * config.n_par : (tile + 1) * config.n_par,
                word * config.k_par : (word + 1) * config.k_par,
            ].tolist(),
            config.k_par, config.n_par, fields["group"],
            STRUCTURE_NUMBERS[fields["structure"]], bool(fields["ternary"]),
        )
        for tile in range(tiles) for word in range(words)
    }
    order = (lambda place: place[::-1]) if fields["words_outer"] else None
    made = weight_beats(
        config, pack(padded[:n, :k] > 0), k,
        mask=pack(padded[:n, :k] != 0) if config.ternary else None, padding=1,
    )
    assert [beats[place] for place in sorted(beats, key=order)] == [
        int.from_bytes(row.tobytes(), "little") for row in made
    ]


def pack(bits):
    return np.packbits(bits, axis=1, bitorder="little")


def test_the_documentation_has_the_descriptor():
    text = DOCUMENT.read_text(encoding="utf-8")
    for slot in SLOTS:
        line = f"| {slot.offset:#04x} | {slot.bytes} | `{slot.name}` | {slot.text} |\n"
        assert line in text


def test_the_documentation_names_every_error():
    text = DOCUMENT.read_text(encoding="utf-8")
    (error,) = [r for r in REGISTERS if r.name == "ERROR"]
    section = text[text.index("## Errors") : text.index("## One description")]
    for f in error.fields:
        kind = re.sub(r"^(act|coef|weight|scale)_", "*_", f.name)
        assert f"`{kind}`" in section, f.name


def test_the_examples_of_the_documentation_run():
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/axi.md", "exec"), {})


def test_every_structure_has_a_number():
    assert sorted(STRUCTURE_NUMBERS) == sorted(STRUCTURES)
