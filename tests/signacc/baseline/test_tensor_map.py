"""The descriptor's arguments, with a stand-in for the driver."""

import ctypes

import pytest
import torch

from signacc.baseline import tensor_map
from signacc.baseline.errors import DeviceError


class Driver:
    def __init__(self, code=0):
        self.code = code

    def cuTensorMapEncodeTiled(self, made, kind, rank, address, sizes, strides, box, steps, *rest):
        self.made, self.kind, self.address = ctypes.addressof(made), kind, address.value
        self.lists = [list(sizes), list(strides), list(box), list(steps)]
        self.rest = rest
        assert rank.value == len(sizes)
        return self.code


@pytest.mark.parametrize(("dtype", "kind", "size"), [(torch.float16, 6, 2), (torch.int8, 0, 1)])
def test_a_box_is_128_bytes_of_so_many_vectors(monkeypatch, dtype, kind, size):
    driver = Driver()
    monkeypatch.setattr(tensor_map, "driver", lambda: driver)
    x = torch.zeros((3, 40, 512), dtype=dtype)
    made = tensor_map.vectors_map(x, 64)
    assert ctypes.addressof(made) == driver.made
    assert driver.made % 64 == 0  # the driver API asks for it
    assert (driver.kind, driver.address) == (kind, x.data_ptr())
    assert driver.lists == [
        [512, 40, 3], [512 * size, 40 * 512 * size], [128 // size, 64, 1], [1, 1, 1]
    ]
    assert driver.rest == (0, 3, 3, 0)  # no interleave, swizzle of 128 bytes, L2 by 256, zeros


def test_a_refusal_is_an_error(monkeypatch):
    monkeypatch.setattr(tensor_map, "driver", lambda: Driver(code=1))
    with pytest.raises(DeviceError, match="cuTensorMapEncodeTiled must succeed, not end with"):
        tensor_map.vectors_map(torch.zeros((1, 8, 256), dtype=torch.int8), 16)
