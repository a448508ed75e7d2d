# amaranth: UnusedElaboratable=no
"""AxiConfig's rules, and what descriptors look like in memory."""

import struct
from dataclasses import FrozenInstanceError

import pytest

from hw.axi.config import AxiConfig, weight_item_bytes, whole_bytes
from hw.axi.descriptors import (
    DESCRIPTOR_BYTES,
    FLAG_LOAD,
    ITEM_BYTES,
    LIST_COUNT_MAX,
    SLOTS,
    Descriptor,
    list_alignment,
    list_bytes,
)
from hw.config import PRESETS, ConfigError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory": 1}, "memory must be true or false, not 1"),
        ({"axi_data_bits": "64"}, "axi_data_bits must be an integer, not '64'"),
        ({"max_burst": True}, "max_burst must be an integer, not True"),
        ({"axi_data_bits": 16}, "axi_data_bits must be from 32 to 1024, not 16"),
        ({"axi_data_bits": 2048}, "axi_data_bits must be from 32 to 1024, not 2048"),
        ({"axi_data_bits": 96}, "axi_data_bits must be a power of two, not 96"),
        ({"max_burst": 0}, "max_burst must be from 1 to 256, not 0"),
        ({"max_burst": 512}, "max_burst must be from 1 to 256, not 512"),
        ({"max_burst": 12}, "max_burst must be a power of two, not 12"),
        ({"outstanding": 0}, "outstanding must be from 1 to 64, not 0"),
        ({"weight_fifo": 15}, "weight_fifo must hold a burst of max_burst = 16 beats, not 15"),
        ({"coef_fifo": 8}, "coef_fifo must hold a burst of max_burst = 16 beats, not 8"),
        (
            {"axi_data_bits": 1024, "max_burst": 64, "weight_fifo": 64, "coef_fifo": 64},
            "a burst must not be longer than 4096 bytes, not max_burst 64 of 128 bytes",
        ),
    ],
)
def test_rules(settings, message):
    with pytest.raises(ConfigError) as error:
        AxiConfig(**settings)
    assert str(error.value) == message


def test_the_longest_bursts_are_legal():
    for bits, beats in ((32, 256), (128, 256), (256, 128), (1024, 32)):
        axi = AxiConfig(axi_data_bits=bits, max_burst=beats, weight_fifo=256, coef_fifo=256)
        assert axi.data_bytes * axi.max_burst <= 4096


def test_it_is_frozen_and_goes_into_a_dictionary():
    axi = AxiConfig(memory=True, axi_data_bits=64)
    with pytest.raises(FrozenInstanceError):
        axi.memory = False
    assert AxiConfig(**axi.to_dict()) == axi


def test_bytes_of_a_weight_beat():
    assert [whole_bytes(bits) for bits in (1, 8, 9, 18)] == [8, 8, 16, 24]
    assert weight_item_bytes(PRESETS["tiny"]) == 4


def test_the_slots_fill_a_descriptor():
    position = 0
    for slot in SLOTS:
        assert slot.offset == position
        position += slot.bytes
        if slot.bytes <= ITEM_BYTES:  # the core sees a field whole
            assert slot.offset // ITEM_BYTES == (position - 1) // ITEM_BYTES
    assert position == DESCRIPTOR_BYTES


def test_a_descriptor_in_memory():
    descriptor = Descriptor(
        k=5, n=7, m=2, flags=FLAG_LOAD, weight_address=2**63 + 8, coef_address=2**40,
        scale_address=2**62 + 9, s=11, w=13,
    )
    want = struct.pack("<4I3Q2I16x", 5, 7, 2, 1, 2**63 + 8, 2**40, 2**62 + 9, 11, 13)
    assert descriptor.to_bytes() == want
    assert list_bytes([descriptor] * 3) == want * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": -1}, "k of a descriptor must be from 0 to 2**32 - 1, not -1"),
        ({"n": 2**32}, "n of a descriptor must be from 0 to 2**32 - 1, not 4294967296"),
        (
            {"coef_address": 2**64},
            "coef_address of a descriptor must be from 0 to 2**64 - 1, not 18446744073709551616",
        ),
    ],
)
def test_values_that_do_not_fit(changes, message):
    fields = {"k": 1, "n": 1, "weight_address": 0, "coef_address": 0} | changes
    with pytest.raises(ConfigError) as error:
        Descriptor(**fields).to_bytes()
    assert str(error.value) == message


@pytest.mark.parametrize("count", [0, LIST_COUNT_MAX + 1])
def test_lengths_of_a_list(count):
    one = Descriptor(k=1, n=1, weight_address=0, coef_address=0)
    with pytest.raises(ConfigError, match=f"from 1 to 65535 descriptors, not {count}$"):
        list_bytes([one] * count)


def test_alignment_of_a_list():
    assert list_alignment(AxiConfig(axi_data_bits=32)) == 64
    assert list_alignment(AxiConfig(axi_data_bits=1024)) == 128
