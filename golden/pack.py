"""Sign bits: eight weights in a byte, least significant bit first, 1 means +1.

Weights ``[N, K]`` become bytes ``[N, ceil(K/8)]``: weight ``(i, j)`` is bit ``j % 8`` of byte
``(i, j // 8)``. Unused bits of the last byte of a row are written as 0 and ignored on reading.
Ternary weights have a mask beside the signs, in the same layout: 1 = the weight is +1 or -1 as its
sign says, 0 = the weight is 0 and its sign bit is written as 0 and ignored on reading.
Only numpy is needed; torch tensors are accepted and given back when they come in.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .errors import InputError


def is_tensor(value: object) -> bool:
    """Return whether `value` is a torch tensor, without importing torch for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(value: Any, what: str) -> np.ndarray:
    """Return `value` (numpy array or CPU torch tensor) as a numpy array, without a copy.

    Raises
    ------
    TypeError
        If `value` is neither, or a tensor that is not on the CPU.
    InputError
        If it is a tensor of a type that numpy does not have, such as bfloat16.
    """
    if isinstance(value, np.ndarray):
        return value
    if is_tensor(value):
        if value.device.type != "cpu":
            raise TypeError(f"{what} must be on the CPU, not on {value.device}")
        try:
            return value.detach().numpy()
        except TypeError:  # bfloat16 and the like, which numpy does not have
            raise InputError(
                f"{what} must be of a type that numpy has, not {value.dtype}"
            ) from None
    raise TypeError(f"{what} must be a numpy array or a torch tensor, not {type(value).__name__}")


def like(result: np.ndarray, model: object) -> Any:
    """Return `result` as the kind (numpy or torch) that `model` is."""
    if is_tensor(model):
        return sys.modules["torch"].from_numpy(np.ascontiguousarray(result))
    return result


def pack_signs(weights: Any) -> Any:
    """Pack the signs of `weights` ``[N, K]`` into bytes ``[N, ceil(K/8)]`` (uint8).

    A weight ``w`` becomes 1 when ``w >= 0`` and 0 when ``w < 0``; so 0 and -0.0 become +1, as the
    export rule of the contract says (count them with ``weights == 0``).

    Raises
    ------
    InputError
        If `weights` is not two-dimensional, has no element, or holds a NaN.
    """
    return like(_pack(_check_weights(weights) >= 0), weights)


def pack_ternary(weights: Any) -> tuple[Any, Any]:
    """Pack ternary `weights` ``[N, K]`` into bytes ``(signs, mask)``, both ``[N, ceil(K/8)]``.

    A weight above 0 counts as +1, below 0 as -1; 0 and -0.0 are 0.

    Raises
    ------
    InputError
        If `weights` is not two-dimensional, has no element, or holds a NaN.
    """
    array = _check_weights(weights)
    return like(_pack(array > 0), weights), like(_pack(array != 0), weights)


def unpack_signs(signs: Any, k: int) -> Any:
    """Unpack bytes ``[N, ceil(k/8)]`` into signs ``[N, k]`` of -1 and +1 (int8).

    Raises
    ------
    InputError
        If `signs` is not uint8 of that shape, or `k` is not a positive integer.
    """
    array = check_packed(signs, k)
    bits = np.unpackbits(array, axis=1, count=k, bitorder="little")
    return like((bits.astype(np.int8) << 1) - 1, signs)


def unpack_ternary(signs: Any, mask: Any, k: int) -> Any:
    """Unpack bytes ``[N, ceil(k/8)]`` into weights ``[N, k]`` of -1, 0 and +1 (int8).

    `mask` None means that no weight is 0.

    Raises
    ------
    InputError
        If `signs` or `mask` is not uint8 of that shape, or `k` is not a positive integer.
    """
    weights = unpack_signs(signs, k)
    if mask is None:
        return weights
    array = check_packed(mask, k, what="mask", n=len(weights))
    kept = np.unpackbits(array, axis=1, count=k, bitorder="little").astype(np.int8)
    return weights * like(kept, signs)


def check_packed(signs: Any, k: int, *, what: str = "signs", n: int | None = None) -> np.ndarray:
    """Return `signs` as a numpy array after checking that it packs rows of `k` weights.

    `what` names it in errors; `n` is the number of rows that it must have, if that is known.
    """
    array = to_numpy(signs, what)
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise InputError(f"k must be a positive integer, not {k!r}")
    if array.dtype != np.uint8:
        raise InputError(f"{what} must be uint8 bytes, not {array.dtype}")
    width = -(-k // 8)
    if n is not None and array.shape != (n, width):
        raise InputError(
            f"{what} for {n} outputs of {k} inputs must have shape [{n}, {width}], "
            f"not {array.shape}"
        )
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] != width:
        raise InputError(
            f"{what} for {k} inputs must have shape [N, {width}] with N >= 1, not {array.shape}"
        )
    return array


def _check_weights(weights: Any) -> np.ndarray:
    array = to_numpy(weights, "weights")
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"weights must have shape [N, K] with N, K >= 1, not {array.shape}")
    if array.dtype.kind not in "fi":
        raise InputError(f"weights must be real numbers, not {array.dtype}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError("weights must not hold NaN: a NaN has no sign to pack")
    return array


def _pack(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits, axis=1, bitorder="little")
