"""The simulator's page: its example runs, and its figures are those of the code."""

import json
import math
import re
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest

from golden.config import MODELS, named_model
from hw.config import EngineConfig
from sim.energy import (
    ASIC45,
    TECHNOLOGIES,
    beat_register_bits,
    calibrated,
    sign_accumulate_pj,
    tree_levels,
)
from sim.memory import CHANNELS, MEMORIES
from sim.memory.commands import chunks, mixed, replay, sequential
from sim.memory.references import REFERENCES
from sim.system import SystemConfig, estimate, named_system, simulate
from sim.system.files import _OPTIONAL, _REQUIRED
from sim.workload import Formats, Pass, Shard

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
KV260 = named_system("kv260")


def section(title):
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(title):
    """Return the rows of a section's tables, each a list of its cells."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in section(title).splitlines()
        if line.startswith("| ")
    ]


def test_the_example_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/simulator.md", "exec"), {})
    assert "lm_head" in capsys.readouterr().out


def as_stated(stated, found):
    """Return the values found, rounded to the decimals of those stated."""
    return [Decimal(value).quantize(text) for text, value in zip(stated, found, strict=True)]


def rows():
    return {
        cells[0]: [[Decimal(v.strip()) for v in cell.split("/")] for cell in cells[1:]]
        for cells in table("Estimates")
        if cells[0] in MODELS
    }


def test_every_model_is_in_the_table():
    assert set(rows()) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_table_holds_what_the_code_says(name):
    result = estimate(named_model(name), KV260, context=512)
    speed, limit, energy = rows()[name]
    found, joules = result.tokens_per_second, result.energy_per_token_j
    assert speed == as_stated(speed, [found.low, found.nominal, found.high])
    assert limit == as_stated(limit, [result.bandwidth_limit_tokens_per_second])
    assert energy == as_stated(energy, [joules.low, joules.nominal, joules.high])


def test_stated_shares():
    amounts = estimate(named_model("fbi-130m"), KV260).main.bytes_by_category()
    assert amounts["head"] / sum(amounts.values()) == pytest.approx(0.62, abs=0.005)
    shares = {}
    for name, model in MODELS.items():
        result = estimate(model, KV260, context=512)
        limit = result.bandwidth_limit_tokens_per_second
        shares[name] = result.tokens_per_second.nominal / limit
        parts = result.energy_parts_j
        outside = parts["dram"].nominal + parts["static"].nominal
        assert 0.965 < outside / result.energy_per_token_j.nominal < 0.985, name
    small = shares.pop("fbi-135m")
    stated = (
        f"{100 * min(shares.values()):.0f}–{100 * max(shares.values()):.0f} % of theirs "
        f"(fbi-135m, 30 layers of small matrices, at {100 * small:.0f} %)"
    )
    assert stated in " ".join(section("Estimates").split())


def test_stated_bytes_of_a_token():
    def megabytes(name):
        amounts = estimate(named_model(name), KV260, context=512).main.bytes_by_category()
        return Decimal(sum(amounts.values())) / 10**6

    said = re.search(
        r"At 512 positions a decoded token of (\S+) moves ([\d.]+) MB, of (\S+) ([\d.]+), of "
        r"(\S+) ([\d.]+) and of (\S+) ([\d.,]+) \(derived\)",
        " ".join(section("Workload").split()),
    ).groups()
    for name, text in zip(said[::2], said[1::2], strict=True):
        stated = Decimal(text.replace(",", ""))
        assert [stated] == as_stated([stated], [megabytes(name)])


def test_keys_of_the_json_are_those_that_the_page_names():
    data = simulate(named_model("fbi-43m"), KV260, prefill=8, decode=4).to_json()
    keys = {*data, *data["phases"][0], *data["operators"][0], *data["provenance"]}
    intervals = {"low", "nominal", "high"}
    bounds = {"array", "memory", "vector", "link"}
    named = set(re.findall(r"`([a-z_*]+)`", section("JSON")))
    assert named - {"tensor", "pipeline"} - intervals - bounds <= keys
    for name in ("tokens_per_second", "time_per_token_s"):
        ranged = data[name.removesuffix("_s") + "_range" + "_s" * name.endswith("token_s")]
        assert ranged["low"] <= data[name] <= ranged["high"]
    assert set(data["energy_per_token_j"]) == intervals
    assert {row["bound_by"] for row in data["operators"]} <= bounds


def test_the_envelope_is_of_the_estimate():
    result = estimate(named_model("fbi-7b"), KV260, context=512)
    amounts = result.main.bytes_by_category()
    parts = [amounts[key] for key in ("packed_weights", "head", "kv_read")]
    total, pico = sum(parts), KV260.memory.energy_pj_per_bit.nominal
    step = 1 / result.tokens_per_second.nominal
    watt = KV260.static_power_w.nominal
    text = " ".join(section("Estimates").split())
    signs, head, cache = (f"{part / 1e6:.0f}" for part in parts)
    assert f"{signs} MB sign bits + {head} head + {cache} KV cache = {total / 1e9:.2f} GB" in text
    assert f"GB; at 19.2 GB/s {19.2e9 / total:.1f} tokens/s" in text
    assert (
        f"{total / 1e9:.2f} GB · 8 · {pico} pJ = {8 * total * pico * 1e-12:.2f} J of DRAM and "
        f"{watt} W · {1e3 * step:.1f} ms = {watt * step:.2f} J static"
    ) in text


def test_stated_prefills():
    wide = replace(KV260, engine=replace(KV260.engine, m_par=8))
    for system, stated in ((KV260, "19.2"), (wide, "62.6")):
        result = simulate(named_model("fbi-7b"), system, prefill=512, decode=0)
        assert f"{result.tokens_per_second.nominal:.3g}" == stated
        assert stated in section("Estimates")


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=lambda memory: memory.name)
def test_memories_are_in_their_table(memory):
    (row,) = [cells for cells in table("Memory") if cells[0] == f"`{memory.name}`"]
    share, energy = memory.efficiency, memory.energy_pj_per_bit
    assert row[1:] == [
        f"{memory.peak_gb_s:.4g}",
        f"{share.low:.1%} / {share.nominal:.1%} / {share.high:.1%}",
        f"{memory.share(4096).nominal:.1%}",
        f"{memory.share(256).nominal:.1%}",
        f"{energy.low:.3g} / {energy.nominal:.3g} / {energy.high:.3g}",
    ]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.what)
def test_references_are_in_their_table(reference):
    (row,) = [cells for cells in table("Memory") if cells[0] == reference.what]
    ours, theirs = reference.ours, reference.theirs
    assert row[1:4] == [f"{ours:.1%}", f"{theirs:.1%}", f"{100 * (ours - theirs):+.1f}"]
    assert row[4:] == [f"{reference.mark}: {reference.source}", reference.note]


def test_stated_agreement_of_the_forms_with_the_replay():
    channels = [replace(timing, t_refi=1e9) for timing in CHANNELS.values()]
    off = {"stream": [], "chunk": [], "mixed": [], "one group": []}
    for timing in channels:
        off["stream"].append(timing.sequential_share() - replay(timing, sequential(timing, 1500)))
        off["mixed"].append(timing.mixed_share(1 / 8) - replay(timing, mixed(timing, 1500, 8)))
        poor = replay(timing, sequential(timing, 1500, interleaved=False))
        off["one group"].append(timing.sequential_share(interleaved=False) - poor)
        for size in (64, 256, 1024, 4096):
            found = replay(timing, chunks(timing, size, 1500, seed=7))
            off["chunk"].append(timing.chunk_share(size) - found)
    points = {kind: [100 * abs(value) for value in values] for kind, values in off.items()}
    said = re.search(
        r"within (\d+) points for streams, (\d+) for chunks of 64 B to 4 KB \(.*?; most within "
        r"(\d+);.*?\) and (\d+) for 7 reads a write; a stream .*? is up to (\d+) points faster",
        " ".join(section("Memory").split()),
    )
    stream, chunk, usual, both, group = map(int, said.groups())
    assert max(points["stream"]) < stream
    assert math.ceil(max(points["chunk"])) == chunk
    assert sum(value < usual for value in points["chunk"]) > len(points["chunk"]) / 2
    assert math.ceil(max(points["mixed"])) == both
    assert math.ceil(-100 * min(off["one group"])) == group


def test_stated_shares_of_writes():
    def written(phase):
        amounts = phase.bytes_by_category()
        return amounts["kv_write"] / sum(amounts.values())

    for model in MODELS.values():
        for context in (1, model.max_position_embeddings):
            for head in ("fp16", "binary"):
                result = estimate(model, KV260, context=context, formats=Formats(head=head))
                assert written(result.main) < 0.01
    result = simulate(
        named_model("fbi-43m"), named_system("asic7"), prefill=128, decode=0, batch=16
    )
    times = {cost.operator.name: cost.time_s.nominal for cost in result.operators}
    text = " ".join(section("Memory").split())
    assert f"({100 * written(result.main):.0f} % of 16 prompts of 128, fbi-43m on `asic7`)" in text
    share = times["kv_write"] / sum(times.values())
    assert f"little of the time ({100 * share:.1f} %; modelled)" in text


def test_the_table_of_operators_says_what_an_8_bit_cache_adds():
    model, work = named_model("fbi-130m"), Pass.decode(3, 100)
    heads = model.num_attention_heads
    (row,) = [cells for cells in table("Workload") if cells[0] == "attention scores, values"]
    for bits, each in ((16, 0), (8, 1)):
        shard = Shard(model=model, engine=KV260.engine, formats=Formats(kv_bits=bits))
        found = {op.name: op for op in shard.attention(work.attended, work.cached)}
        for name in ("attention_scores", "attention_values"):
            assert found[name].vector_ops == each * heads * 300
            assert found[name].macs == heads * model.head_dim * 300
    assert row[1] == "heads·head_dim·attended MACs each; 8 bit: heads·attended operations each, too"


def test_dram_is_that_of_the_record():
    rows = json.loads((ROOT / "benchmarks/results/dram.json").read_text())["results"]["rows"]
    assert len({row["part"] for row in rows}) >= 4

    def cell(part, pattern, mapping):
        (row,) = [
            r for r in rows if (r["part"], r["pattern"], r["mapping"]) == (part, pattern, mapping)
        ]
        return f"{row['dramsim3']:.1%} / {row['replay']:.1%} / {row['closed_form']:.1%}"

    shown = [cells for cells in table("Memory") if "_8Gb_" in cells[0]]
    assert {(part, pattern) for part, pattern, *_ in shown} == {
        (row["part"], row["pattern"]) for row in rows
    }
    for part, pattern, *cells in shown:
        assert cells == [cell(part, pattern, how) for how in ("interleaved", "one group")]

    def most(ours, wanted):
        return 100 * max(abs(r[ours] - r["dramsim3"]) for r in rows if wanted(r))

    text = " ".join(section("Memory").split())
    assert f"within {most('replay', lambda r: True):.1f} points of it everywhere" in text
    streams = most("closed_form", lambda r: r["pattern"] == "sequential")
    interleaved = most("closed_form", lambda r: r["mapping"] == "interleaved")
    assert f"within {streams:.1f} for streams and within {interleaved:.1f} for all" in text
    low = 100 * max(r["dramsim3"] - r["closed_form"] for r in rows)
    assert f"up to {low:.1f} points too low" in text


def test_keys_of_a_system_file_are_documented():
    documented = {
        key for cells in table("Systems") for key in re.findall(r"`([a-z_]+)`", cells[0])
    }
    assert documented == set(_REQUIRED + _OPTIONAL)
    assert {f.name for f in fields(SystemConfig)} == {
        key.replace("_kib", "_bytes") for key in documented - {"schema", "description"}
    }
    assert all(f"`{name}`" in section("Energy") for name in TECHNOLOGIES)


def activity_rows():
    """Return the rows of the table of switching activity, from the record."""
    record = json.loads((ROOT / "benchmarks/results/activity.json").read_text())["results"]
    for name, engine in record["engines"].items():
        config, data = engine["config"], engine["data"]
        accumulators = (
            "accumulators" if "accumulators" in engine["bits"] else "accumulator_sums"
        )
        cells = [
            " / ".join(f"{found['toggles_per_bit'][part]:.3f}" for found in data.values())
            for part in (
                "adders", accumulators, "array_registers", "front_end_multipliers", "bins", "drain"
            )
        ]
        assert list(data) == ["real", "random-activations", "random", "uniform"], name
        yield [f"`{config['structure']}`", str(config["act_bits"]), *cells]


def test_activity_is_that_of_the_record():
    rows = [cells for cells in table("Energy") if len(cells) == 8 and cells[1].isdigit()]
    assert sorted(rows) == sorted(activity_rows())


def test_gates_are_those_of_the_record():
    results = json.loads((ROOT / "benchmarks/results/activity.json").read_text())["results"]
    text = " ".join(section("Energy").split())
    gates, engine = results["gates"], results["engines"]["direct_a8"]
    real, part, random, _ = (gates["rows"][kind]["over_adders"] for kind in gates["rows"])
    assert f"toggle {real:.3f} times what the adders do on real data" in text
    assert f"{part:.3f} on normal activations and {random:.3f} on random ones" in text
    assert f"{gates['row_gates']} gates" in text
    # the same from nets of the RTL: toggles of tree and accumulator, weighted by their energy
    config = EngineConfig.from_dict(engine["config"])
    tree = sum(count * ASIC45.int_add_pj(bits).nominal for count, bits in tree_levels(config))
    accumulator = ASIC45.int_add_pj(config.acc_bits).nominal
    both = [
        tree * found["adders"] + accumulator * found["accumulators"]
        for found in (engine["data"][kind]["toggles_per_bit"] for kind in ("real", "random"))
    ]
    assert f"Real over random is {real / random:.3f}; the RTL nets" in text
    assert f"give {both[0] / both[1]:.3f}." in text


def test_stated_effect_of_activity():
    text = " ".join(section("Energy").split())
    record = json.loads((ROOT / "benchmarks/results/activity.json").read_text())["results"]
    down = {
        kind: found["layers"]["11.down_proj"]["accumulators"]
        for kind, found in record["engines"]["direct_a8"]["data"].items()
    }
    assert f"toggle {down['real']:.3f} times a bit" in text
    assert f"against {down['random']:.3f} on random data" in text
    array, whole = {}, {}
    for name in ("real", "random", "none"):
        system = replace(named_system("asic7"), activity=name)
        result = estimate(named_model("fbi-7b"), system, context=512)
        array[name] = result.energy_parts_j["array"].nominal
        whole[name] = result.energy_per_token_j.nominal
    assert f"{100 * (1 - array['real'] / array['none']):.1f} % below that of the constants" in text
    assert f"{100 * (1 - array['real'] / array['random']):.1f} % below that of random data" in text
    assert 0 < 1 - whole["real"] / whole["none"] < 1e-4


def test_stated_spans_of_fpga_constants():
    spans = {True: [], False: []}
    for technology in (TECHNOLOGIES[name] for name in ("fpga16", "fpga28", "ecp5")):
        for field in fields(technology):
            constant = getattr(technology, field.name)
            if field.name not in ("name", "description"):
                wide = field.name in ("fp16_mul", "sram_read_bit", "sram_write_bit")
                spans[wide].append(constant.value.high / constant.value.low)
    said = [f"{min(each):.0f} to {max(each):.0f}" for each in (spans[False], spans[True])]
    assert (
        f"high over low is {said[0]} for additions and registers, {said[1]} for multipliers and "
        "on-chip memory"
    ) in " ".join(section("Energy").split())


def test_published_binary_weight_chip():
    shape = EngineConfig(
        name="yodann", k_par=49, n_par=32, act_bits=12, k_max=4096, n_max=4096, levels_per_stage=9
    )
    registers = ASIC45.register_bit.value * (sum(beat_register_bits(shape)) / (49 * 32))
    text = " ".join(section("Estimates").split())
    assert f"is {2 / 61.2 * (45 / 65) * (0.9 / 0.6) ** 2:.3f} pJ a sign-accumulate" in text
    for name, said in (("real", "pJ with the activity"), ("none", "by the constants alone")):
        activity = calibrated(shape, name)
        ours = sign_accumulate_pj(ASIC45, shape, activity)
        ours = ours + registers * activity.factor("array_registers")
        assert f"{ours.low:.3f} / {ours.nominal:.3f} / {ours.high:.3f} {said}" in text


def test_speed_is_that_of_the_record():
    record = json.loads((ROOT / "benchmarks/results/simulator.json").read_text())["results"]
    text = " ".join(section("Speed").split())
    whole = record["whole_model"]
    assert f"takes {whole['processor_s']['median']:.2f} s of processor time" in text
    assert f"and {whole['peak_memory_mb']:.0f} MB" in text
    assert f"about {record['step_us']:.0f} µs" in text
    assert f"before {record['designs']['mean_s'] * 1e3:.0f} ms" in text
    assert whole["processor_s"]["max"] < 1
    assert whole["peak_memory_mb"] < 500
    assert record["designs_in_ten_minutes_on_two_cores"] > 10_000


def test_peers_are_those_of_the_record():
    record = json.loads((ROOT / "benchmarks/results/peers.json").read_text())["results"]
    ratios = record["processor_time_over_signacc"]
    for name in ("signacc", *ratios):
        found, ratio = record[name], f"{ratios[name]:,.0f}" if name in ratios else ""
        (row,) = [cells for cells in table("Speed") if cells[0] == name]
        assert row[1:] == [
            f"{found['processor_s']:.3g}", ratio, f"{found['process_processor_s']:.3g}",
            f"{found['peak_memory_mb']:,.0f}",
        ]
    assert ratios["scalesim 3.0.0"] > 1000
