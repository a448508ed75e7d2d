"""Systems as JSON files; ``docs/simulator.md`` has the table of keys."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

from hw.config import EngineConfig, named_preset

from ..checks import shown
from ..energy import check_data, named_technology
from ..generic import Engine, GenericEngine
from ..jsonfile import MOST, Section, read
from ..memory import DramTiming, MemoryConfig, named_channel, named_memory
from .config import LinkConfig, MemoryPorts, OnChipMemory, SystemConfig
from .links import named_link

SCHEMA = "signacc-system-1"
"""Value of a system file's ``schema`` key."""

_REQUIRED = (
    "schema", "name", "engine", "memory", "technology", "vector_lanes", "static_power_w",
    "static_power_source",
)  # fmt: skip
_OPTIONAL = (
    "description", "vector_latency_cycles", "weight_buffer_kib", "activation_buffer_kib",
    "prefetch", "engines", "on_chip", "memory_ports", "vector_bandwidth_gb_s", "chips", "parallel",
    "link", "activity",
)  # fmt: skip
_ENERGY = ("energy_pj_per_bit", "energy_source")
_KIB = 1024


def system_from_file(path: str | Path) -> SystemConfig:
    """Read a system from a JSON file.

    Raises
    ------
    InputError
        If a key is unknown, missing or twice there, or a value breaks its rule; the message names
        the file, the line and the key.
    """
    return system_from_section(read(path))


def system_from_section(section: Section) -> SystemConfig:
    """Build a system from an object of a JSON file; refuses as :func:`system_from_file` does."""
    section.keys(_REQUIRED, _OPTIONAL)
    section.schema(SCHEMA)
    values: dict[str, object] = {
        "name": section.text("name"),
        "engine": _engine(section),
        "memory": _memory(section),
        "technology": section.checked(
            "technology", lambda: named_technology(section.text("technology"))
        ),
        "static_power_w": section.interval("static_power_w"),
        "static_power_source": section.text("static_power_source"),
    }
    for key, low in (
        ("vector_lanes", 1), ("vector_latency_cycles", 0), ("engines", 1), ("chips", 1)
    ):
        if key in section.data:
            values[key] = section.integer(key, low)
    for key, low in (("weight_buffer_kib", 0), ("activation_buffer_kib", 1)):
        if key in section.data:
            values[key.replace("_kib", "_bytes")] = section.integer(key, low) * _KIB
    if "description" in section.data:
        section.text("description")  # for people alone
    for key in ("prefetch", "parallel"):
        if key in section.data:
            values[key] = section.data[key]
    if "activity" in section.data:
        name = section.text("activity")
        values["activity"] = section.checked("activity", lambda: check_data(name))
    if section.data.get("on_chip") is not None:
        values["on_chip"] = _on_chip(section.section("on_chip"))
    if section.data.get("memory_ports") is not None:
        values["memory_ports"] = _memory_ports(section.section("memory_ports"))
    if section.data.get("vector_bandwidth_gb_s") is not None:
        values["vector_bandwidth_gb_s"] = section.number("vector_bandwidth_gb_s", above=0)
    if section.data.get("link") is not None:
        values["link"] = _link(section)
    guilty = next((key for key in ("prefetch", "parallel") if key in section.data), None)
    return section.checked(guilty, lambda: SystemConfig(**values))


def _engine(section: Section) -> Engine:
    if isinstance(section.data["engine"], str):
        return section.checked("engine", lambda: named_preset(section.text("engine")))
    inner = section.section("engine")
    if "kind" in inner.data:
        return _generic(inner)
    known = tuple(field.name for field in fields(EngineConfig))
    inner.keys((), known)
    return section.checked("engine", lambda: EngineConfig.from_dict(inner.data, where="engine"))


def _generic(section: Section) -> GenericEngine:
    if section.data["kind"] != "generic":
        raise section.fail(
            "kind", f"engine.kind must be 'generic', not {section.data['kind']!r}: an engine with "
            "RTL has no kind",
        )
    known = {field.name: field for field in fields(GenericEngine)}
    required = tuple(name for name, field in known.items() if field.default is MISSING)
    section.keys(("kind", *required), tuple(name for name in known if name not in required))
    values = {name: value for name, value in section.data.items() if name != "kind"}
    return section.checked(None, lambda: GenericEngine(**values))


def _memory_ports(section: Section) -> MemoryPorts:
    section.keys(("count", "bits", "clock_mhz"))
    return MemoryPorts(
        count=section.integer("count", 1),
        bits=section.integer("bits", 1),
        clock_mhz=section.number("clock_mhz", above=0),
    )


def _memory(section: Section) -> MemoryConfig:
    if isinstance(section.data["memory"], str):
        return section.checked("memory", lambda: named_memory(section.text("memory")))
    inner = section.section("memory")
    if "channel" in inner.data:
        inner.keys(("channel", "channels", "capacity_gib", *_ENERGY), ("name",))
        timing = _channel(inner)
        return MemoryConfig.of_channels(
            name=inner.text("name") if "name" in inner.data else timing.name,
            timing=timing,
            channels=inner.integer("channels", 1),
            capacity_bytes=_capacity(inner),
            energy_pj_per_bit=inner.interval("energy_pj_per_bit"),
            energy_source=inner.text("energy_source"),
        )
    inner.keys(
        ("name", "peak_gb_s", "capacity_gib", "efficiency", "efficiency_source", *_ENERGY)
    )
    efficiency = inner.interval("efficiency")
    if not (efficiency.low > 0 and efficiency.high <= 1):
        raise inner.fail(
            "efficiency",
            f"memory.efficiency must be above 0 and at most 1, not from {efficiency.low!r} to "
            f"{efficiency.high!r}",
        )
    return MemoryConfig(
        name=inner.text("name"),
        peak_gb_s=inner.number("peak_gb_s", above=0),
        capacity_bytes=_capacity(inner),
        efficiency=efficiency,
        efficiency_source=inner.text("efficiency_source"),
        energy_pj_per_bit=inner.interval("energy_pj_per_bit"),
        energy_source=inner.text("energy_source"),
    )


def _capacity(section: Section) -> int:
    gib = section.number("capacity_gib", above=0)
    if gib > MOST:
        raise section.fail("capacity_gib", f"{section.name('capacity_gib')} must be at most "
                           f"{MOST}, not {shown(gib)}")
    return max(1, int(gib * (1 << 30)))


def _channel(section: Section) -> DramTiming:
    if isinstance(section.data["channel"], str):
        return section.checked("channel", lambda: named_channel(section.text("channel")))
    inner = section.section("channel")
    known = tuple(field.name for field in fields(DramTiming))
    inner.keys(tuple(name for name in known if name != "ranks"), ("ranks",))
    for name in known:
        if name in ("name", "source"):
            inner.text(name)
        elif name in inner.data:
            inner.number(name, above=0)
    return section.checked("channel", lambda: DramTiming(**inner.data))


def _on_chip(section: Section) -> OnChipMemory:
    section.keys(("capacity_kib", "ports", "port_bits", "holds"))
    holds = section.data["holds"]
    if not isinstance(holds, list) or not all(isinstance(name, str) for name in holds):
        raise section.fail("holds", f"on_chip.holds must be a list of texts, not {holds!r}")
    values = {key: section.integer(key, 1) for key in ("capacity_kib", "ports", "port_bits")}
    return section.checked(
        "holds",
        lambda: OnChipMemory(
            capacity_bytes=values["capacity_kib"] * _KIB,
            ports=values["ports"],
            port_bits=values["port_bits"],
            holds=tuple(holds),
        ),
    )


def _link(section: Section) -> LinkConfig:
    if isinstance(section.data["link"], str):
        return section.checked("link", lambda: named_link(section.text("link")))
    inner = section.section("link")
    inner.keys(("name", "bandwidth_gb_s", "latency_s", "energy_pj_per_bit", "source"))
    return LinkConfig(
        name=inner.text("name"),
        bandwidth_gb_s=inner.number("bandwidth_gb_s", above=0),
        latency_s=inner.number("latency_s"),
        energy_pj_per_bit=inner.interval("energy_pj_per_bit"),
        source=inner.text("source"),
    )
