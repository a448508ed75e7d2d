"""The command line: bad input gives one clear sentence and exit code 2, and writes nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from golden.config import MODELS
from golden.errors import InputError
from hw.config import PRESETS
from signacc.cli import main
from signacc.cosim.command import _from_model
from signacc.cosim.job import Writing
from sim.system import SYSTEM_NAMES

COMMANDS = sorted(main.commands)


def invoke(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def refused(result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: "), message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"signacc {command}" in result.output


@pytest.mark.parametrize("command", ["simulate", "serve", "compare"])
def test_help_names_every_system_and_model(command):
    text = " ".join(invoke(command, "--help").output.split())
    assert ", ".join(SYSTEM_NAMES) in text
    assert all(name in text for name in MODELS)


def test_help_calls_a_thing_the_same_in_every_command():
    """What an option takes, in capitals; TEXT says nothing."""
    seen = {}
    for name in COMMANDS:
        command = main.commands[name]
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                shown = option.make_metavar(click.Context(command))
                seen.setdefault(option.opts[-1], set()).add(shown)
    expected = {
        "--preset": {"NAME"}, "--memory": {"NAME"}, "--link": {"NAME"}, "--target": {"NAME"},
        "--board": {"NAME"}, "--top": {"NAME"}, "--config": {"FILE"}, "--system": {"FILE"},
    }
    assert {option: seen[option] for option in expected} == expected


def test_help_is_light():
    """--help must not load torch, amaranth or cocotb."""
    code = (
        "import sys; from signacc.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'amaranth', 'cocotb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["serve", "--workers", "1025"], ["--workers", "1025", "1<=x<=1024"]),
        (["explore", "-o", "x", "--workers", "1025"], ["--workers", "1025", "0<=x<=1024"]),
        (["bitstream", "--preset", "tiny", "-o", "x.bit", "--baud", "299"],
         ["--baud", "299", "300<=x<=3000000"]),
        (["simulate", "--batch", "65537"], ["batch must be at most 65,536", "not 65537"]),
        (["simulate", "--engines", "1409"], ["engines must be at most 1408", "not 1409"]),
    ],
)
def test_absurd_numbers(arguments, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(invoke(*arguments), *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verilog", "--preset", "tiny", "--config", "c", "-o", "x.v"),
         "give --preset or --config, not both"),
        (("verilog", "--preset", "tiny", "-o", "x.txt"),
         "the output file must end in .v, not 'x.txt'"),
        (("simulate", "--context", "1", "--decode", "1"),
         "give --context for one token, or --prefill and --decode"),
        (("validate", "--json", "--markdown"), "give --json or --markdown, not both"),
        (("eval", "--tasks", "piqa"), "--tasks and --tasks-data PATH go together"),
        (("train", "--teacher", "t", "--data", "d", "--out", "o", "--steps", "9"),
         "warmup must be 0 to 9 steps, not 200"),
        (("data", "--teacher", "none.gguf", "--out", "o"),
         "the teacher must be a GGUF file; there is none at none.gguf"),
    ],
)  # fmt: skip
def test_what_the_packages_refuse_is_the_sentence_alone(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.output == f"Error: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "--batch", "many"), "Invalid value for '--batch'"),
        (("verilog", "--preset", "tiny"), "Missing option '-o'"),
        (("train", "--steps", "many"), "Invalid value for '--steps'"),
        (("data", "--colour"), "No such option '--colour'"),
    ],
)
def test_what_click_refuses_comes_with_the_usage(arguments, message):
    result = CliRunner().invoke(main, arguments, prog_name="signacc")
    refused(result, message)
    assert result.stderr.startswith(f"Usage: signacc {arguments[0]} ")


class TestVerilog:
    def test_writes_verilog_and_sidecar(self, tmp_path):
        path = tmp_path / "engine.v"
        result = invoke("verilog", "--preset", "tiny", "-o", str(path), "--json")
        assert result.exit_code == 0, result.output
        sidecar = json.loads((tmp_path / "engine.json").read_text())
        assert json.loads(result.stdout) == sidecar
        assert set(sidecar) >= {"config", "lanes", "ports", "latency_cycles", "tools"}
        assert sidecar["lanes"] == 8 * 4
        text = path.read_text()
        assert "module signacc_tiny(" in text
        assert sorted(p.name for p in tmp_path.iterdir()) == ["engine.json", "engine.v"]

    def test_own_configuration(self, tmp_path):
        config = PRESETS["tiny"].to_dict() | {"name": "mine", "k_par": 4, "act_par": 4}
        (tmp_path / "mine.json").write_text(json.dumps(config))
        path = tmp_path / "engine.v"
        result = invoke("verilog", "--config", str(tmp_path / "mine.json"), "-o", str(path))
        assert result.exit_code == 0, result.output
        assert "module signacc_mine(" in path.read_text()

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["--preset", "huge"], ["tiny", "kv260", "not 'huge'"]),
            ([], ["--preset NAME or --config FILE"]),
            (["--preset", "tiny", "--config", "x.json"], ["not both"]),
            (["--config", "no/such.json"], ["no/such.json", "No such file"]),
            (["--preset", "tiny", "--top", "7seg"], ["Verilog identifier", "'7seg'"]),
        ],
    )
    def test_bad_input(self, tmp_path, arguments, parts):
        refused(invoke("verilog", *arguments, "-o", str(tmp_path / "e.v")), *parts)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "parts"),
        [
            ({"k_par": 0}, ["k_par must be from 1 to 512, not 0"]),
            ({"act_bits": 25}, ["act_bits must be from 4 to 24, not 25"]),
            ({"act_par": 3}, ["act_par must divide k_par", "not 3"]),
            ({"wings": 2}, ["keys must be among", "not wings"]),
            ({"k_par": "8"}, ["k_par must be an integer, not '8'"]),
        ],
    )
    def test_illegal_configuration(self, tmp_path, change, parts):
        path = tmp_path / "bad.json"
        path.write_text(json.dumps(PRESETS["tiny"].to_dict() | change))
        refused(invoke("verilog", "--config", str(path), "-o", str(tmp_path / "e.v")), *parts)
        assert list(tmp_path.iterdir()) == [path]

    def test_output_must_be_verilog_in_a_folder_that_exists(self, tmp_path):
        refused(invoke("verilog", "--preset", "tiny", "-o", str(tmp_path / "e.vhd")), "end in .v")
        missing = tmp_path / "none" / "e.v"
        refused(invoke("verilog", "--preset", "tiny", "-o", str(missing)), "folder must exist")

    def test_configuration_is_not_overwritten_by_the_sidecar(self, tmp_path):
        config = tmp_path / "mine.json"
        config.write_text(json.dumps(PRESETS["tiny"].to_dict()))
        before = config.read_text()
        result = invoke("verilog", "--config", str(config), "-o", str(tmp_path / "mine.v"))
        refused(result, "the sidecar would overwrite", "mine.json")
        assert config.read_text() == before
        assert list(tmp_path.iterdir()) == [config]

    @pytest.mark.parametrize("header", ["e.v", "./e.json", "e.core", "e.tcl"])
    def test_a_header_replaces_no_other_output(self, header, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = invoke("verilog", "--preset", "tiny", "--axi", "streams", "--core",
                        "--vivado-part", "xck26-sfvc784-2LV-c", "-o", "e.v", "--header", header)
        refused(result, f"the header must be another file than {header}")
        assert list(tmp_path.iterdir()) == []

    def test_files_for_other_tools_need_a_name_that_is_text(self, tmp_path):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/e\xff.v")
        result = invoke("verilog", "--preset", "tiny", "--core", "-o", path)
        refused(result, "must have a UTF-8 name, not 'e\\udcff.v'")
        assert invoke("verilog", "--preset", "tiny", "-o", path).exit_code == 0
        assert Path(path).is_file()

    def test_an_older_sidecar_is_replaced(self, tmp_path):
        path = tmp_path / "engine.v"
        for preset in ("tiny", "tiny"):
            assert invoke("verilog", "--preset", preset, "-o", str(path)).exit_code == 0

    def test_full_disk_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "e.v"
        path.write_text("old")

        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        refused(invoke("verilog", "--preset", "tiny", "-o", str(path)), "No space left on device")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


class TestSimulate:
    def test_json(self):
        result = invoke("simulate", "--model", "fbi-130m", "--preset", "kv260", "--json")
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        energy = report["energy_per_token_j"]
        assert energy["low"] <= energy["nominal"] <= energy["high"]
        assert report["tokens_per_second"] == pytest.approx(1 / report["time_per_token_s"])
        assert report["operators"]
        assert report["provenance"]

    def test_table(self):
        result = invoke("simulate", "--model", "fbi-7b")
        assert result.exit_code == 0, result.output
        for word in ("lm_head", "rtl-exact", "modelled", "tokens/s", "J/token"):
            assert word in result.output

    def test_a_run_with_prompt_and_batch(self):
        options = ["--prefill", "16", "--decode", "4", "--batch", "2", "--kv-bits", "8",
                   "--head", "int8", "--json"]
        result = invoke("simulate", *options)
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        assert [phase["name"] for phase in report["phases"]] == ["prefill", "decode"]
        assert (report["prefill"], report["decode"], report["batch"]) == (16, 4, 2)
        assert (report["kv_bits"], report["head"]) == (8, "int8")
        shown = invoke("simulate", *options[:-1])
        for word in ("prefill", "decode", "time to first token", "timeline", "batch 2"):
            assert word in shown.output

    @pytest.mark.parametrize(("parallel", "share"), [("tensor", 4), ("pipeline", 1)])
    def test_the_table_says_whose_bytes_and_energy_it_shows(self, parallel, share):
        """In tensor parallelism bytes are of one chip of four, energy of all."""
        options = ["--model", "fbi-7b", "--preset", "asic7", "--chips", "4", "--link",
                   "die-to-die", "--parallel", parallel]  # fmt: skip
        report = json.loads(invoke("simulate", *options, "--json").stdout)
        moved = sum(report["phases"][0]["bytes"].values())
        pj = report["provenance"]["memory"]["energy_pj_per_bit"]["nominal"]
        dram = report["energy_parts_j"]["dram"]["nominal"]
        assert dram == pytest.approx(share * moved * 8 * pj * 1e-12)
        shown = " ".join(invoke("simulate", *options).output.split())
        assert "fbi-7b on 4 x asic7 with hbm3" in shown
        said = "(tensor; cycles and bytes of one chip, energy of all)"
        assert (said in shown) == (parallel == "tensor")
        assert f"({parallel}" in shown

    def test_several_chips_and_engines(self):
        chips = ["--chips", "2", "--parallel", "tensor", "--link", "die-to-die"]
        result = invoke("simulate", *chips, "--engines", "2", "--json")
        report = json.loads(result.stdout)
        assert "mlp_all_reduce" in [entry["name"] for entry in report["operators"]]
        assert (report["provenance"]["chips"], report["provenance"]["engines"]) == (2, 2)

    def test_a_model_of_a_short_context(self, tmp_path):
        """The context that nobody asked for was refused."""
        config = replace(MODELS["fbi-43m"], max_position_embeddings=100)
        (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
        report = json.loads(invoke("simulate", "--model", str(tmp_path), "--json").stdout)
        assert report["context"] == 100
        refused(invoke("simulate", "--model", str(tmp_path), "--context", "101"),
                "context must be an integer from 1 to max_position_embeddings = 100, not 101")

    def test_a_system_and_a_model_of_ones_own(self, tmp_path):
        from sim.system import presets

        system = tmp_path / "mine.json"
        system.write_text((presets._FOLDER / "kv260.json").read_text().replace("64,", "8,"))
        model = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100}
        (tmp_path / "config.json").write_text(json.dumps(model))
        result = invoke("simulate", "--system", str(system), "--model", str(tmp_path), "--json")
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        assert report["model"]["hidden_size"] == 64
        assert report["provenance"]["vector_unit"]["lanes"] == 8

    def test_a_timeline_file(self, tmp_path):
        path = tmp_path / "trace.json"
        result = invoke("simulate", "--trace", str(path))
        assert result.exit_code == 0, result.output
        assert f"wrote {path}" in result.output
        assert json.loads(path.read_text())["traceEvents"]

    def test_plots(self, tmp_path):
        pytest.importorskip("matplotlib")
        result = invoke("simulate", "--plot", str(tmp_path / "plots"))
        assert result.exit_code == 0, result.output
        names = sorted(path.name for path in (tmp_path / "plots").iterdir())
        assert names == ["breakdown.png", "roofline.png"]

    def test_outputs_are_refused_before_work(self, tmp_path):
        file = tmp_path / "file"
        file.write_text("mine")
        result = invoke("simulate", "--plot", str(file))
        refused(result, f"the plots' folder must be a folder, not the file {file}")
        refused(invoke("simulate", "--trace", str(tmp_path)), "the timeline must not be a folder")
        refused(invoke("explore", "-o", str(file / "x")), f"must be a folder, not the file {file}")
        assert file.read_text() == "mine"

    def test_a_timeline_and_a_plot_of_one_name(self, tmp_path):
        pytest.importorskip("matplotlib")
        path = tmp_path / "roofline.png"
        result = invoke("simulate", "--trace", str(path), "--plot", str(tmp_path))
        refused(result, f"two output files must not have one name: {path}")
        assert "tokens/s" in result.stdout
        assert list(tmp_path.iterdir()) == []

    def test_a_refused_run_writes_nothing(self, tmp_path):
        path = tmp_path / "trace.json"
        refused(invoke("simulate", "--context", "9999", "--trace", str(path)), "9999")
        assert not path.exists()

    def test_a_bad_system_file_is_refused_by_line(self, tmp_path):
        path = tmp_path / "bad.json"
        path.write_text('{\n "schema": "signacc-system-1",\n "colour": "red"\n}')
        refused(invoke("simulate", "--system", str(path)), f"{path}, line 3", "not colour")

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["--model", "gpt"], ["fbi-7b", "not 'gpt'", "neither a folder nor a file"]),
            (["--preset", "abacus"], ["kv260", "abacus"]),
            (["--memory", "tape"], ["ddr4", "tape"]),
            (["--model", "fbi-7b", "--context", "2049"], ["2048", "2049"]),
            (["--context", "0"], ["0"]),
            (["--context", "5", "--decode", "5"], ["--context", "--decode"]),
            (["--preset", "kv260", "--system", "x.json"], ["--preset or --system"]),
            (["--system", "/none.json"], ["cannot read /none.json"]),
            (["--prefill", "500", "--decode", "13"], ["prefill + decode", "512", "513"]),
            (["--prefill", "0"], ["prefill + decode", "not 0"]),
            (["--kv-bits", "4"], ["--kv-bits", "4"]),
            (["--chips", "2"], ["2 chips need a link"]),
            (["--link", "die-to-die"], ["--link is of several chips", "--chips"]),
            (["--parallel", "tensor"], ["--parallel is of several chips", "--chips"]),
            (["--link", "rope"], ["a link is one of", "rope"]),
            (["--chips", "3", "--link", "die-to-die"], ["num_attention_heads = 8", "3"]),
            (["--model", "fbi-7b", "--batch", "99"], ["must fit", "too many"]),
            (["--model", "fbi-7b", "--memory", "sdram-133-x16"], ["sdram-133-x16", "too many"]),
        ],
    )
    def test_bad_input(self, arguments, parts):
        refused(invoke("simulate", *arguments), *parts)


class TestCosimInput:
    """What cosim refuses before it builds anything."""

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["--random-layer", "3x100"], ["MxKxN", "'3x100'"]),
            (["--random-layer", "0x1x1"], ["MxKxN, each an integer from 1", "'0x1x1'"]),
            (["--random-layer", "5000x1x1"], ["M of a random layer", "5000"]),
            (["--random-layer", "1x20000x1"], ["K must be from 1 to 11264", "20000"]),
            (["--random-layer", "1x300x1", "--preset", "tiny"], ["K must be from 1 to 256", "300"]),
            (["--random-layer", "1x1x1", "--stall", "1"], ["--stall", "1"]),
            (["--preset", "nano", "--random-layer", "1x1x1"], ["a preset is one of", "'nano'"]),
            (["--model", "/no/such"], ["a model is a folder", "/no/such"]),
            (["--positions", "0"], ["--positions", "0"]),
            (["--random-layer", "1x1x1", "--stall", "nan"], ["from 0 to 0.99", "nan"]),
            (["--random-layer", "1x1x1", "--seed", str(2**64)], ["--seed"]),
        ],
    )
    def test_bad_input(self, arguments, parts):
        refused(invoke("cosim", *arguments), *parts)

    def test_a_bad_configuration_is_refused_by_line(self, tmp_path):
        path = tmp_path / "engine.json"
        config = PRESETS["tiny"].to_dict() | {"act_bits": 3}
        path.write_text(json.dumps(config, indent=1))
        line = next(
            number for number, row in enumerate(path.read_text().splitlines(), 1)
            if "act_bits" in row
        )
        result = invoke("cosim", "--config", str(path), "--random-layer", "1x1x1")
        refused(result, f"{path}, line {line}: act_bits must be from 4 to 24, not 3")

    def test_models_are_binary16(self):
        engine = replace(PRESETS["tiny"], act_format="bf16")
        writing = Writing(count=1, temperature=0.0, top_p=1.0, seed=0)
        with pytest.raises(InputError, match="act_format must be fp16, not bf16; --random-layer"):
            _from_model(engine, None, "", "0", 1, writing)

    @pytest.mark.parametrize("tool", ["g++", "make", "perl"])
    def test_missing_tool(self, tool, tmp_path, monkeypatch):
        for name in {"g++", "make", "perl"} - {tool}:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        result = invoke("cosim", "--random-layer", "1x1x1", "--preset", "tiny")
        refused(result, f"needs {tool}", "not on PATH")

    def test_missing_verilator(self, monkeypatch):
        monkeypatch.setattr("signacc.cosim.toolchain.find_spec", lambda name: None)
        monkeypatch.setattr(
            "signacc.cosim.toolchain.shutil.which",
            lambda tool: None if tool == "verilator" else f"/bin/{tool}",
        )
        result = invoke("cosim", "--random-layer", "1x1x1", "--preset", "tiny")
        refused(result, "needs Verilator 5.036 or newer")

    def test_old_verilator_on_path(self, tmp_path, monkeypatch):
        fake = tmp_path / "verilator"
        fake.write_text("#!/bin/sh\necho Verilator 5.006 2023-01-22\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr("signacc.cosim.toolchain.find_spec", lambda name: None)
        result = invoke("cosim", "--random-layer", "1x1x1", "--preset", "tiny")
        refused(result, "5.036", "5.006")


@pytest.mark.rtl
def test_random_layer_json(tmp_path):
    result = invoke(
        "cosim", "--random-layer", "2x33x10", "--preset", "tiny", "--seed", "5", "--stall", "0.2",
        "--json",
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["values_compared"] == 2 * 10
    assert report["mismatches"] == 0
    assert report["rtl_cycles"] == report["simulated_cycles"]
    # 5 words of 8 inputs, 3 tiles of 4 outputs, 2 vectors
    (layer,) = report["layers"]
    assert layer["beats"] == 5 * 3 * 2
    assert layer["utilisation"] == layer["beats"] / layer["rtl_cycles"]


ENGINES = {
    "ternary_groups": {"ternary": True, "scale_out": "groups", "m_par": 2},
    "resident_rows": {
        "weights": "memory", "weight_words": 40, "scale_out": "row", "structure": "tables",
        "group": 2,
    },
    "bf16_triple": {"act_format": "bf16", "structure": "triple"},
}


@pytest.mark.rtl
@pytest.mark.parametrize("name", ENGINES)
def test_random_layers_on_an_engine_of_ones_own(name, tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(PRESETS["tiny"].to_dict() | ENGINES[name] | {"name": name}))
    result = invoke(
        "cosim", "--config", str(path), "--random-layer", "3x61x17", "--random-layer", "1x5x1",
        "--seed", "3", "--stall", "0.2", "--json",
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["config"]["name"] == name
    assert [layer["shape"] for layer in report["layers"]] == [[3, 61, 17], [1, 5, 1]]
    assert report["values_compared"] == 3 * 17 + 1
    assert report["mismatches"] == 0
    assert report["rtl_cycles"] == report["simulated_cycles"]


@pytest.mark.rtl
def test_disagreement_exits_with_1(monkeypatch):
    """If golden and RTL differed, the command would say so."""
    import numpy as np

    def wrong(x, signs, *args, **kwargs):
        return np.zeros((len(x), len(signs)), dtype=np.float16)

    monkeypatch.setattr("signacc.cosim.operands.fbi_linear", wrong)
    result = invoke("cosim", "--random-layer", "1x9x5", "--preset", "tiny")
    assert result.exit_code == 1
    assert "DISAGREES" in result.output


def test_errors_go_to_standard_error_as_a_program():
    """The same through the installed program: no traceback, nothing on standard output."""
    program = Path(sys.executable).with_name("signacc")
    done = subprocess.run(
        [program, "cosim", "--preset", "nano"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: a preset is one of")
    assert done.stderr.count("\n") == 1


@pytest.mark.rtl
def test_cocotb_settings_of_the_user_do_not_leak_in(monkeypatch):
    monkeypatch.setenv("COCOTB_TEST_FILTER", "nothing")
    monkeypatch.setenv("COCOTB_TESTCASE", "nothing")
    result = invoke("cosim", "--random-layer", "1x9x5", "--preset", "tiny", "--json")
    assert result.exit_code == 0, result.output
    assert os.environ["COCOTB_TEST_FILTER"] == "nothing"


@pytest.mark.rtl
@pytest.mark.parametrize("damage", ["truncated", "deleted"])
def test_damaged_cache_heals(damage, monkeypatch, tmp_path):
    monkeypatch.setenv("SIGNACC_CACHE", str(tmp_path))
    arguments = ("cosim", "--random-layer", "1x2x1", "--config", str(tmp_path / "c.json"), "--json")
    config = PRESETS["tiny"].to_dict() | {"name": "dot", "k_par": 2, "n_par": 1, "act_par": 1}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert invoke(*arguments).exit_code == 0
    (binary,) = tmp_path.glob("builds/*/signacc_dot")
    if damage == "truncated":
        binary.write_bytes(binary.read_bytes()[:1000])
    else:
        binary.unlink()
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output


@pytest.mark.rtl
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_leave_nothing_behind(number, tmp_path, monkeypatch):
    """A long run is ended from outside: exit code 128 + signal, no simulator, no files."""
    assert invoke("cosim", "--random-layer", "1x1x1", "--preset", "tiny").exit_code == 0
    # A job started in the background of a script inherits SIGINT as ignored: undo that.
    with default_signals():
        running = subprocess.Popen(
            [Path(sys.executable).with_name("signacc"), "cosim", "--random-layer",
             "2000x256x256", "--preset", "tiny"],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("signacc-*/bench.log")):
            assert time.monotonic() < deadline, "the bench did not start"
            assert running.poll() is None
            time.sleep(0.1)
        time.sleep(1)
        running.send_signal(number)
        assert running.wait(timeout=30) == 128 + number
    finally:
        running.kill()
        running.wait()
    assert list(tmp_path.iterdir()) == []
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/environ")
        if str(tmp_path).encode() in _read(path)
    ]
    assert left == []


@contextmanager
def default_signals():
    """Start children with SIGINT at its default, whatever this process inherited."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
