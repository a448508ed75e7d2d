"""System files: what they may hold, and what is refused by name and line."""

import json
from pathlib import Path

import pytest

from hw.config import PRESETS
from sim.energy import FPGA16, calibrated
from sim.errors import InputError
from sim.interval import Interval
from sim.memory import named_channel, named_memory
from sim.system import SYSTEM_NAMES, named_link, named_system, system_from_file

BASE = {
    "schema": "signacc-system-1",
    "name": "mine",
    "engine": "kv260",
    "memory": "ddr4-2400-x64",
    "technology": "fpga16",
    "vector_lanes": 64,
    "static_power_w": {"low": 1, "nominal": 2, "high": 3},
    "static_power_source": "test",
}
FLAT = {
    "name": "flat", "peak_gb_s": 10, "capacity_gib": 2, "efficiency": 0.9,
    "efficiency_source": "test", "energy_pj_per_bit": 20, "energy_source": "test",
}
CHANNEL = {
    "channel": "hbm3-6400", "channels": 4, "capacity_gib": 2, "energy_pj_per_bit": 4,
    "energy_source": "test",
}


@pytest.fixture
def load(tmp_path):
    def write(without=(), **changes):
        path = tmp_path / "system.json"
        data = {key: value for key, value in (BASE | changes).items() if key not in without}
        path.write_text(json.dumps(data, indent=1))
        return system_from_file(path)

    return write


def test_the_smallest_file(load):
    system = load()
    assert system.name == "mine"
    assert system.engine is PRESETS["kv260"]
    assert system.memory is named_memory("ddr4-2400-x64")
    assert system.technology is FPGA16
    assert system.static_power_w == Interval(1, 2, 3)
    assert (system.chips, system.engines, system.prefetch) == (1, 1, False)
    assert system.activity == "real"


def test_everything(load):
    engine = {"name": "own", "k_par": 8, "n_par": 4, "k_max": 64, "n_max": 64, "clock_mhz": 200}
    on_chip = {"capacity_kib": 4, "ports": 2, "port_bits": 72, "holds": ["norms", "head"]}
    link = {"name": "wire", "bandwidth_gb_s": 2, "latency_s": 0, "energy_pj_per_bit": 1,
            "source": "test"}
    system = load(
        engine=engine, memory=FLAT, vector_latency_cycles=5, weight_buffer_kib=0,
        activation_buffer_kib=7, prefetch=True, engines=3, on_chip=on_chip, chips=2,
        parallel="pipeline", link=link, description="all keys", activity="random",
    )
    assert system.switching == calibrated(system.engine, "random")
    assert system.engine.lanes == 32
    assert system.clock_hz == 200e6
    assert system.memory.efficiency == Interval.exactly(0.9)
    assert system.memory.capacity_bytes == 2 << 30
    assert (system.weight_buffer_bytes, system.activation_buffer_bytes) == (0, 7168)
    assert system.on_chip.bytes_per_cycle() == 18
    assert system.on_chip.holds == ("norms", "head")
    assert system.link.time_s(2e9, 0) == 1
    assert (system.engines, system.stages, system.tensor_chips) == (3, 2, 1)


def test_channels(load):
    system = load(memory=CHANNEL, link="die-to-die")
    assert system.memory.peak_gb_s == pytest.approx(4 * 25.6)
    assert system.memory.timing is named_channel("hbm3-6400")
    assert system.link is named_link("die-to-die")
    own = {
        field: getattr(named_channel("ddr4-3200"), field)
        for field in named_channel("ddr4-3200").__dataclass_fields__
    }
    assert load(memory=CHANNEL | {"channel": own}).memory.timing == named_channel("ddr4-3200")


GENERIC = {"kind": "generic", "k_par": 8, "n_par": 4, "clock_mhz": 250, "weight_bits": 4.125}
PORTS = {"count": 4, "bits": 128, "clock_mhz": 300}


def test_a_generic_engine_and_ports(load):
    system = load(engine=GENERIC, memory_ports=PORTS, vector_bandwidth_gb_s=6.5)
    assert (system.engine.lanes, system.clock_hz) == (32, 250e6)
    assert system.memory_ports.gb_s == pytest.approx(19.2)
    assert system.vector_bandwidth_gb_s == 6.5
    assert GENERIC.items() <= system.engine.to_dict().items()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"description": []}, r"description must be a text, not \[\]"),
        ({"engine": GENERIC | {"kind": "rtl"}}, r"line 5: engine.kind must be 'generic', not"),
        ({"engine": GENERIC | {"macs": 3}}, r"line 10: keys must be among .*, not engine.macs"),
        ({"engine": {"kind": "generic"}}, r"line 4: engine.k_par must be given"),
        ({"engine": GENERIC | {"k_par": 0}}, r"line 4: k_par of a generic engine must be an int"),
        ({"engine": GENERIC | {"weight_bits": 0}}, r"line 4: weight_bits of a generic engine must"),
        ({"engine": GENERIC | {"arithmetic": "x"}}, r"must be one of add, float-add, float-mac"),
        ({"memory_ports": PORTS | {"bits": 0}}, r"line 16: memory_ports.bits must be an integer"),
        ({"memory_ports": PORTS | {"gb_s": 1}}, r"line 18: keys must be among .*memory_ports.gb_s"),
        ({"vector_bandwidth_gb_s": 0}, r"line 14: vector_bandwidth_gb_s must be above 0, not 0"),
        ({"speed": 3}, r"system.json, line 14: keys must be among schema, .*, not speed"),
        ({"schema": "other"}, r"line 2: schema must be 'signacc-system-1', not 'other'"),
        ({"engine": "abacus"}, r"line 4: a preset is one of .*, not 'abacus'"),
        ({"engine": {"k_par": 8, "lanes": 3}}, r"line 6: keys must be among .*, not engine.lanes"),
        ({"engine": {"k_par": 8}}, r"line 4: engine must give name, .*; missing: name"),
        ({"memory": "tape"}, r"line 5: a memory is one of .*, not 'tape'"),
        ({"memory": FLAT | {"peak_gb_s": 0}}, r"line 7: memory.peak_gb_s must be above 0, not 0"),
        ({"memory": FLAT | {"peak_gb_s": -1}}, r"line 7: memory.peak_gb_s must be a finite number"),
        ({"memory": FLAT | {"capacity_gib": 1e300}}, r"memory.capacity_gib must be at most 9007"),
        ({"memory": FLAT | {"efficiency": 2}}, r"line 9: memory.efficiency must be above 0 and at"),
        ({"memory": FLAT | {"energy_pj_per_bit": -2}}, r"line 11: memory.energy_pj_per_bit must"),
        ({"memory": FLAT | {"ports": 2}}, r"line 13: keys must be among .*, not memory.ports"),
        ({"memory": CHANNEL | {"channel": "ddr9"}}, r"line 6: a DRAM channel is one of .*'ddr9'"),
        ({"memory": CHANNEL | {"channels": 0}}, r"line 7: memory.channels must be an integer of"),
        ({"memory": CHANNEL | {"channel": {"name": "x"}}}, r"line 6: memory.channel.source must"),
        ({"technology": "3nm"}, r"line 6: a technology is one of .*, not '3nm'"),
        ({"vector_lanes": 0}, r"line 7: vector_lanes must be an integer of at least 1, not 0"),
        ({"static_power_w": -1}, r"line 8: static_power_w must be a finite number of at least 0"),
        ({"static_power_source": ""}, r"line 13: static_power_source must be a text, not ''"),
        ({"prefetch": 1}, r"line 14: prefetch must be true or false, not 1"),
        ({"parallel": "data"}, r"line 14: parallel must be one of tensor, pipeline, not 'data'"),
        ({"activity": "warm"}, r"line 14: activity must be one of real, random, none, not 'warm'"),
        ({"activity": 1}, r"line 14: activity must be a text, not 1"),
        ({"chips": 2}, r"2 chips need a link between them"),
        ({"link": "rope"}, r"line 14: a link is one of .*, not 'rope'"),
        ({"link": {"name": "x"}}, r"line 14: link.bandwidth_gb_s must be given"),
        (
            {"on_chip": {"capacity_kib": 1, "ports": 1, "port_bits": 8, "holds": ["sand"]}},
            r"line 18: on-chip memory holds categories among .*, not 'sand'",
        ),
        (
            {"on_chip": {"capacity_kib": 1, "ports": 1, "port_bits": 8, "holds": "head"}},
            r"line 18: on_chip.holds must be a list of texts, not 'head'",
        ),
    ],
)
def test_bad_files_are_refused_by_name_and_line(load, changes, message):
    with pytest.raises(InputError, match=message):
        load(**changes)


@pytest.mark.parametrize("key", BASE)
def test_missing_keys_are_refused(load, key):
    with pytest.raises(InputError, match=f"{key} must be given"):
        load(without=(key,))


@pytest.mark.parametrize("name", SYSTEM_NAMES)
def test_named_systems_are_files_and_named_after_their_engine(name):
    system = named_system(name)
    assert system.name == system.engine.name == name
    assert system.static_power_source


def test_every_shipped_file_is_valid_or_waits_for_its_preset():
    from sim.system import presets

    for path in Path(presets._FOLDER).glob("*.json"):
        if path.stem in PRESETS:
            assert path.stem in SYSTEM_NAMES
        else:
            with pytest.raises(InputError, match="line 5: a preset is one of"):
                system_from_file(path)


def test_parts_can_be_exchanged():
    system = named_system("kv260", engine=PRESETS["tiny"], memory="hbm3")
    assert system.engine is PRESETS["tiny"]
    assert system.memory is named_memory("hbm3")
    assert system.vector_lanes == 64


def test_unknown_names_are_refused():
    assert {"kv260", "kv260_a8", "ulx3s", "tiny"} <= set(SYSTEM_NAMES)
    with pytest.raises(InputError, match=r"a system is one of .*kv260, kv260_a8, .*, not 'nope'"):
        named_system("nope")
    with pytest.raises(InputError, match="a memory is one of"):
        named_system("kv260", memory="nope")
