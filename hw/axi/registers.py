"""The register map, described once.

The decoder in hardware (:mod:`hw.axi.regfile`), the C header, the Python constants, the SystemRDL
file and the table in the documentation are all made from :data:`REGISTERS`. Imports no Amaranth.
"""

from __future__ import annotations

from ..config import EngineConfig
from .config import AxiConfig
from .fields import (
    DATA_BITS,
    Access,
    Presence,
    Register,
    bits,
    check_map,
    constant,
    counter,
    feature,
    number,
    status,
)

INTERFACE_VERSION = (1, 1)
"""Major and minor version of the register map; a change that breaks drivers raises the major."""
IDENTITY = int.from_bytes(b"SACC", "little")
"""What the register ID reads, so that a driver can tell that it talks to this core."""
STRUCTURE_NUMBERS = ("direct", "shared", "tables", "triple")
"""Structures by their number in FEATURES; a new one comes last, so that numbers stay."""

STREAMS = Presence("without the read master only", lambda c, a: not a.memory)
MEMORY = Presence("with the read master only", lambda c, a: a.memory)
SCALES = Presence("with scale_out only", lambda c, a: c.scales)
STREAMED_SCALES = Presence(
    "with scale_out and without the read master only", lambda c, a: c.scales and not a.memory
)
STREAMED_GROUPS = Presence(
    "with scale_out groups and without the read master only",
    lambda c, a: c.scale_out == "groups" and not a.memory,
)
STREAMED_RESIDENT = Presence(
    "with weights in the core and without the read master only",
    lambda c, a: c.resident and not a.memory,
)

REGISTERS: tuple[Register, ...] = (
    constant("ID", 0x00, "0x43434153: the bytes S A C C", lambda c, a: IDENTITY),
    constant(
        "VERSION", 0x04,
        "version of this register map, here {}.{}: major in 31:16, minor in 15:0".format(
            *INTERFACE_VERSION
        ),
        lambda c, a: INTERFACE_VERSION[0] << 16 | INTERFACE_VERSION[1],
    ),
    constant(
        "AXI_DATA_BITS", 0x08, "data width of the read master; 0: there is none",
        lambda c, a: a.axi_data_bits if a.memory else 0,
    ),
    constant("K_PAR", 0x0C, "inputs of a weight beat", lambda c, a: c.k_par),
    constant("N_PAR", 0x10, "outputs of a weight beat", lambda c, a: c.n_par),
    constant("M_PAR", 0x14, "token vectors that share a weight beat", lambda c, a: c.m_par),
    constant("ACT_BITS", 0x18, "width of quantized activations", lambda c, a: c.act_bits),
    constant("K_MAX", 0x1C, "largest K", lambda c, a: c.k_max),
    constant("N_MAX", 0x20, "largest N", lambda c, a: c.n_max),
    constant("ACT_PAR", 0x24, "activations of a beat of s_axis_act", lambda c, a: c.act_par),
    constant("OUT_PAR", 0x28, "results of a beat of m_axis_result", lambda c, a: c.out_par),
    Register(
        "FEATURES", 0x2C, "what the core was built with",
        (
            feature("ternary", 0, 1, "weights are -1, 0 or +1", lambda c, a: int(c.ternary)),
            feature(
                "scale_row", 1, 1, "output-axis scales, one an output",
                lambda c, a: int(c.scale_out == "row"),
            ),
            feature(
                "scale_groups", 2, 1, "output-axis scales, one an output and group of S words",
                lambda c, a: int(c.scale_out == "groups"),
            ),
            feature(
                "resident", 3, 1, "weights lie in the core; loads fill them in",
                lambda c, a: int(c.resident),
            ),
            feature(
                "words_outer", 4, 1, "order of weight beats: tiles inside words, else the reverse",
                lambda c, a: int(c.words_outer),
            ),
            feature(
                "bf16", 5, 1, "activations and results are bfloat16, else binary16",
                lambda c, a: int(c.act_format == "bf16"),
            ),
            feature(
                "structure", 8, 4, "of the array, by number: " + ", ".join(STRUCTURE_NUMBERS),
                lambda c, a: STRUCTURE_NUMBERS.index(c.structure),
            ),
            feature("group", 12, 4, "inputs that share a weight code", lambda c, a: c.group),
        ),
    ),
    Register(
        "CTRL", 0x30, "commands",
        (
            *bits(
                Access.COMMAND,
                (0, "start", "run the layer of K, N, M, or the list of LIST_*"),
                (1, "reset", "stop, put the core back to idle; a second one ends flushing"),
                (2, "flush_act", "when idle: discard one frame of s_axis_act"),
                (3, "flush_coef", "when idle: discard one frame of s_axis_coef"),
                (4, "flush_weight", "when idle: discard one frame of s_axis_weight"),
                (5, "flush_scale", "when idle: discard one frame of s_axis_scale"),
                (6, "load", "write the weights of the layer of K, N into the core, from W on"),
            ),
        ),
    ),
    Register(
        "STATUS", 0x34, "what the core does now",
        bits(
            Access.STATUS,
            (0, "busy", "a run or its clean-up is under way"),
            (1, "recovering", "clean-up: frames are flushed, reads are drained"),
        ),
    ),
    Register(
        "ERROR", 0x38, "what went wrong; each bit stays until a 1 is written to it",
        bits(
            Access.EVENT,
            (0, "start_busy", "start or flush while busy: it was ignored, the run goes on"),
            (1, "bad_k", "K is 0 or beyond K_MAX"),
            (2, "bad_n", "N is 0 or beyond N_MAX"),
            (3, "bad_m", "M is 0 or beyond M_PAR"),
            (4, "bad_count", "LIST_COUNT is 0 or beyond 65535"),
            (5, "bad_address", "an address is not a multiple of its alignment"),
            (6, "bad_flags", "flags of a descriptor that must be 0 are not"),
            (7, "act_short", "tlast on s_axis_act before the frame's end"),
            (8, "act_long", "no tlast at the end of a frame on s_axis_act"),
            (9, "coef_short", "tlast on s_axis_coef before the frame's end"),
            (10, "coef_long", "no tlast at the end of a frame on s_axis_coef"),
            (11, "weight_short", "tlast on s_axis_weight before the frame's end"),
            (12, "weight_long", "no tlast at the end of a frame on s_axis_weight"),
            (13, "read_slverr", "a read was answered with SLVERR"),
            (14, "read_decerr", "a read was answered with DECERR"),
            (15, "scale_short", "tlast on s_axis_scale before the frame's end"),
            (16, "scale_long", "no tlast at the end of a frame on s_axis_scale"),
            (17, "bad_s", "S is 0 or beyond the words of K_MAX inputs"),
            (18, "bad_w", "the weight beats from W on do not end within WEIGHT_WORDS"),
            (19, "read_misfit", "a read burst had more or fewer beats than were asked for"),
        ),
    ),
    Register(
        "IRQ_STATUS", 0x3C, "reasons for an interrupt; each stays until a 1 is written to it",
        bits(
            Access.EVENT,
            (0, "done", "a run came to its end"),
            (1, "error", "a bit of ERROR was set"),
        ),
    ),
    Register(
        "IRQ_ENABLE", 0x40, "which bits of IRQ_STATUS raise irq",
        bits(Access.CONTROL, (0, "done", "see IRQ_STATUS"), (1, "error", "see IRQ_STATUS")),
    ),
    number("K", 0x44, "inputs of the layer", only=STREAMS),
    number("N", 0x48, "outputs of the layer", only=STREAMS),
    number("M", 0x4C, "token vectors of the layer", reset=1, only=STREAMS),
    number("LIST_LO", 0x50, "address of the first descriptor, low", only=MEMORY),
    number("LIST_HI", 0x54, "address of the first descriptor, high", only=MEMORY),
    number("LIST_COUNT", 0x58, "descriptors of the list", only=MEMORY),
    constant(
        "WEIGHT_WORDS", 0x5C, "weight beats that the core holds; 0: they come with each layer",
        lambda c, a: c.weight_words,
    ),
    status("LAYERS_STARTED", 0x60, "layers and loads of this run that the core has begun"),
    # A list may have more than the register counts.
    status(
        "VECTORS_DONE", 0x64,
        "token vectors of this run whose results have all left, modulo 65536",
    ),
    status("ACT_FRAMES", 0x68, "frames of s_axis_act taken to their tlast in this run"),
    status("COEF_FRAMES", 0x6C, "the same for s_axis_coef", STREAMS),
    status("WEIGHT_FRAMES", 0x70, "the same for s_axis_weight", STREAMS),
    status("SCALE_FRAMES", 0x74, "the same for s_axis_scale", STREAMED_SCALES),
    counter("BUSY_CYCLES", 0x80, "cycles in which STATUS.busy is 1"),
    counter("STALL_ACT", 0x88, "cycles in which the engine could take activations; none came"),
    counter("STALL_COEF", 0x90, "cycles in which it could take coefficients; none came"),
    counter("STALL_WEIGHT", 0x98, "cycles in which it could take weights; none came"),
    counter("STALL_OUT", 0xA0, "cycles in which a result waited for m_axis_result_tready"),
    counter("WEIGHT_BEATS", 0xA8, "weight beats that the engine took"),
    counter("STALL_SCALE", 0xB0, "cycles in which it could take scales; none came", SCALES),
    number(
        "S", 0xC0, "words of K_PAR inputs that share a scale of an output", reset=1,
        only=STREAMED_GROUPS,
    ),
    number("W", 0xC4, "where the layer's weight beats begin in the core", only=STREAMED_RESIDENT),
)
"""The map. A start clears what counts (0x60 to 0xbf); after the run it keeps what the run left."""


check_map(REGISTERS)


def registers_of(config: EngineConfig, axi: AxiConfig) -> tuple[Register, ...]:
    """Return the registers that the core of `config` and `axi` has."""
    return tuple(r for r in REGISTERS if r.only is None or r.only.test(config, axi))


def describe(config: EngineConfig, axi: AxiConfig) -> list[dict[str, object]]:
    """Return the register map of one core, for its sidecar."""
    return [
        {
            "name": name,
            "offset": offset,
            "text": register.text,
            "fields": [
                {
                    "name": field.name,
                    "low": field.low,
                    "width": min(field.width, DATA_BITS),
                    "access": field.access.short,
                    "reset": field.constant(config, axi) if field.constant else field.reset,
                    "text": field.text,
                }
                for field in register.fields
            ],
        }
        for register in registers_of(config, axi)
        for name, offset in register.words
    ]
