"""The package's error for a machine that cannot measure."""

from __future__ import annotations

from golden.errors import InputError


class DeviceError(InputError):
    """There is no usable GPU, driver or compiler; the command line says it and exits with 2."""


class GateError(DeviceError):
    """A path computes something else than the model; it is not timed."""
