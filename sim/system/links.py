"""Named links between chips."""

from __future__ import annotations

from ..errors import InputError
from ..interval import Interval
from .config import LinkConfig

LINKS: dict[str, LinkConfig] = {
    link.name: link
    for link in (
        LinkConfig(
            name="pcie4-x16",
            bandwidth_gb_s=31.5,
            latency_s=1e-6,
            energy_pj_per_bit=Interval(4.0, 7.0, 15.0),
            source=(
                "bandwidth: PCI Express 4.0, 16 GT/s, 128b/130b, 16 lanes; latency and energy "
                "assumed (no source found)"
            ),
        ),
        LinkConfig(
            name="ethernet-100g",
            bandwidth_gb_s=12.5,
            latency_s=2e-6,
            energy_pj_per_bit=Interval(10.0, 20.0, 40.0),
            source="bandwidth: IEEE 802.3 100 Gb/s; latency and energy assumed (no source found)",
        ),
        LinkConfig(
            name="die-to-die",
            bandwidth_gb_s=128.0,
            latency_s=10e-9,
            energy_pj_per_bit=Interval(0.25, 0.5, 1.5),
            source=(
                "one 64-lane module at 16 GT/s of the UCIe kind, 0.25 to 0.5 pJ/bit targeted "
                "(unverified: quoted from memory); high: assumed"
            ),
        ),
    )
}
"""Named links."""


def named_link(name: str) -> LinkConfig:
    """Return the link called `name`; raises InputError with the known names otherwise."""
    if name not in LINKS:
        raise InputError(f"a link is one of {', '.join(LINKS)}, not {name!r}")
    return LINKS[name]
