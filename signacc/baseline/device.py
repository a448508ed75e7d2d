"""The GPU that is measured."""

from __future__ import annotations

import torch

from .errors import DeviceError


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
