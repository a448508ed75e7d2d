import pytest

from sim.errors import InputError
from sim.workload import Formats


def test_a_key_of_a_head():
    assert Formats().kv_vector_bytes(64) == 128
    assert Formats(kv_bits=32).kv_vector_bytes(64) == 256
    assert Formats(kv_bits=8).kv_vector_bytes(64) == 64 + 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv_bits": 4}, "kv_bits must be 32, 16 or 8, not 4"),
        ({"head": "fp8"}, "head must be one of fp16, int8, binary, not 'fp8'"),
        ({"scale_group": 0}, "scale_group must be an integer of at least 1, not 0"),
        ({"kv_block": True}, "kv_block must be an integer of at least 1, not True"),
    ],
)
def test_bad_formats_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Formats(**change)
