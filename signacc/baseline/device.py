"""The GPU that is measured."""

from __future__ import annotations

import torch

from .errors import DeviceError

WARPGROUP_CAPABILITY = (9, 0)
"""Compute capability of Hopper: no earlier or later one has its warpgroup instructions."""


def require_gpu() -> torch.device:
    """Return the current CUDA device; raises DeviceError without one, or without Triton."""
    if not torch.cuda.is_available():
        raise DeviceError(
            "baseline needs a CUDA GPU and a PyTorch built for it; PyTorch "
            f"{torch.__version__} sees none"
        )
    try:
        import triton  # noqa: F401
    except ImportError:
        raise DeviceError(
            "baseline needs Triton, which comes with CUDA builds of PyTorch; it is not installed"
        ) from None
    return torch.device("cuda", torch.cuda.current_device())


def is_hopper(device: torch.device) -> bool:
    """Return whether a CUDA device has warpgroup instructions."""
    return torch.cuda.get_device_capability(device) == WARPGROUP_CAPABILITY


def require_hopper(device: torch.device) -> None:
    """Raise DeviceError unless the device has the warpgroup GEMM's instructions."""
    found = f"the device {device.type}"
    if device.type == "cuda":
        if is_hopper(device):
            return
        capability = torch.cuda.get_device_capability(device)
        found = "{}.{} ({})".format(*capability, torch.cuda.get_device_name(device))
    raise DeviceError(
        "the warpgroup GEMM needs a GPU of compute capability {}.{} (Hopper), not {}".format(
            *WARPGROUP_CAPABILITY, found
        )
    )


def fastest_gemm(device: torch.device) -> str:
    """Return which of :data:`.plan.GEMMS` is the fastest that `device` has."""
    return "warpgroup" if is_hopper(device) else "triton"
