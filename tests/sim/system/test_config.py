from dataclasses import replace

import pytest

from sim.energy import Activity, calibrated
from sim.errors import InputError
from sim.interval import Interval
from sim.system import LINKS, LinkConfig, OnChipMemory, named_link, named_system

KV260 = named_system("kv260")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vector_lanes": 0}, "vector_lanes must be an integer of at least 1, not 0"),
        ({"vector_lanes": 2.0}, r"vector_lanes must be an integer of at least 1, not 2\.0"),
        ({"weight_buffer_bytes": -1}, "weight_buffer_bytes must be an integer of at least 0"),
        ({"activation_buffer_bytes": 0}, "activation_buffer_bytes must be an integer of at least"),
        ({"vector_latency_cycles": -1}, "vector_latency_cycles must be an integer of at least 0"),
        ({"engines": 0}, "engines must be an integer of at least 1, not 0"),
        ({"chips": True}, "chips must be an integer of at least 1, not True"),
        ({"chips": 2}, "2 chips need a link between them"),
        ({"prefetch": "yes"}, "prefetch must be true or false, not 'yes'"),
        ({"activity": "warm"}, "activity must be one of real, random, none, not 'warm'"),
        ({"parallel": "data"}, "parallel must be one of tensor, pipeline, not 'data'"),
    ],
)
def test_bad_systems_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(KV260, **change)


def test_activity_is_that_of_real_data_unless_asked():
    assert KV260.switching == calibrated(KV260.engine, "real")
    assert replace(KV260, activity="random").switching.data == "random"
    own = Activity(factors={"adders": Interval.exactly(0.5)}, source="test")
    assert replace(KV260, activity=own).switching is own


def test_chips_multiply_static_power():
    four = replace(KV260, chips=4, link=named_link("die-to-die"))
    assert four.power_w == KV260.static_power_w * 4


def test_a_link_by_hand():
    link = LinkConfig(
        name="l", bandwidth_gb_s=2, latency_s=1e-6, energy_pj_per_bit=Interval(1, 2, 3), source="t"
    )
    assert link.time_s(4e9, 3) == pytest.approx(2 + 3e-6)
    assert set(link.to_dict()) == {
        "name", "bandwidth_gb_s", "latency_s", "energy_pj_per_bit", "source",
    }
    with pytest.raises(InputError, match="link bandwidth_gb_s must be a finite number above 0"):
        replace(link, bandwidth_gb_s=0)
    with pytest.raises(InputError, match="link latency_s must be a finite number of at least 0"):
        replace(link, latency_s=-1.0)


@pytest.mark.parametrize("name", LINKS)
def test_every_link_has_a_source(name):
    assert named_link(name).source
    with pytest.raises(InputError, match=r"a link is one of .*, not 'rope'"):
        named_link("rope")


def test_bad_on_chip_memories_are_refused():
    good = OnChipMemory(capacity_bytes=8, ports=2, port_bits=36, holds=("norms",))
    assert good.bytes_per_cycle() == 9
    with pytest.raises(InputError, match="on-chip memory ports must be an integer of at least 1"):
        replace(good, ports=0)
    with pytest.raises(InputError, match=r"holds categories among .*, not 'sand'"):
        replace(good, holds=("norms", "sand"))
    with pytest.raises(InputError, match="kv_read and kv_write together, not norms, kv_read"):
        replace(good, holds=("norms", "kv_read"))
