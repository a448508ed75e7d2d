"""Payloads of the engine's ports and of the records that travel between its blocks."""

from __future__ import annotations

from amaranth.hdl import Format, Value, signed
from amaranth.lib import data

from .config import BANKS, SHIFT_BIAS, SIGNIFICAND_SHIFT_BITS, EngineConfig, clog2


class Lanes(data.ArrayLayout):
    """An array whose elements get no wires of their own in the Verilog.

    Amaranth would name element 0 of ``word`` as ``\\word[0]``, which tools that name single bits
    take for bit 0 of ``word``: Yosys' synth_xilinx without -flatten fails on it.
    """

    def format(self, value, format_spec):
        """Show the array as one number."""
        return Format("{:x}", Value.cast(value))


def command(config: EngineConfig) -> data.StructLayout:
    """m token vectors through one layer of K inputs and N outputs.

    `m` is there only if m_par > 1, `s` only with scales of groups: words in a group, `w` only with
    weights from memory: where the layer's beats begin.
    """
    fields = {"k": clog2(config.k_max + 1), "n": clog2(config.n_max + 1)}
    if config.m_par > 1:
        fields["m"] = clog2(config.m_par + 1)
    if config.scale_out == "groups":
        fields["s"] = clog2(config.words_max + 1)
    if config.resident:
        fields["w"] = max(1, clog2(config.weight_words))
    return data.StructLayout(fields)


def load(config: EngineConfig) -> data.StructLayout:
    """A weight beat and its place in the engine's memory."""
    return data.StructLayout(
        {"data": config.weight_beat_bits, "addr": max(1, clog2(config.weight_words))}
    )


def activations(config: EngineConfig) -> Lanes:
    """A chunk of act_par activations, bit patterns of act_format, element 0 lowest."""
    return Lanes(16, config.act_par)


def coefficients(config: EngineConfig) -> Lanes:
    """The input-axis scale (alpha) and shift (beta) of a chunk, float16 bit patterns."""
    return Lanes(data.StructLayout({"scale": 16, "shift": 16}), config.act_par)


def scales(config: EngineConfig) -> Lanes:
    """The output-axis scales of a chunk of out_par outputs, float16 bit patterns."""
    return Lanes(16, config.out_par)


def results(config: EngineConfig) -> data.StructLayout:
    """A chunk of out_par results.

    `keep` marks those that exist, `last` ends a vector; `vector` says whose they are and is there
    only if m_par > 1.
    """
    fields = {"data": Lanes(16, config.out_par), "keep": config.out_par, "last": 1}
    if config.m_par > 1:
        fields["vector"] = clog2(config.m_par)
    return data.StructLayout(fields)


def product(config: EngineConfig) -> data.StructLayout:
    """An exact product: magnitude * 2**(shift - SHIFT_BIAS) in units of 2**product_lsb_exp."""
    return data.StructLayout(
        {
            "magnitude": config.product_significand,
            "shift": shift_bits(config),
            "negative": 1,
        }
    )


def products(config: EngineConfig) -> Lanes:
    """A chunk of exact products."""
    return Lanes(product(config), config.act_par)


def shift_bits(config: EngineConfig) -> int:
    """Width of a product's shift."""
    return (config.product_shift_max + SHIFT_BIAS).bit_length()


def significands(config: EngineConfig) -> Lanes:
    """A chunk of exact products of shift * x: signs and the shifts' low bits are within them."""
    bits = config.product_significand + (1 << SIGNIFICAND_SHIFT_BITS)
    return Lanes(signed(bits), config.act_par)


def summary(config: EngineConfig) -> data.StructLayout:
    """What the quantizer must know of a vector once all of it went by."""
    return data.StructLayout({"exponent": config.exponent_bits, "poison": 1})


def leading(config: EngineConfig) -> data.StructLayout:
    """The leading bits of a positive number, to be rounded.

    ``kept * 2**drop`` half steps, `sticky` if anything was below; a step is the smallest one.
    """
    return data.StructLayout(
        {"kept": config.float.significand + 1, "sticky": 1, "drop": config.place_bits}
    )


def window(config: EngineConfig) -> data.StructLayout:
    """The exact sum of shift * x of a vector, reduced to what matters beside its sums.

    `base` is added to each sum; `sticky` says that the vector's sum has bits below; a magnitude
    whose leading one is the highest possible has its rounding place at `place` + place_offset.
    `positive` and `negative` are what is left where a sum and the base come to 0 or -1 in units of
    sums.
    """
    return data.StructLayout(
        {
            "base": signed(config.window_bits),
            "sticky": 1,
            "place": signed(config.place_bits + 1),
            "poison": 1,
            "positive": leading(config),
            "negative": leading(config),
        }
    )


def vector(config: EngineConfig) -> data.StructLayout:
    """A token vector on its way to the quantizer."""
    return data.StructLayout({"layer": command(config), "summary": summary(config)})


def batch(config: EngineConfig) -> data.StructLayout:
    """The quantized vectors of a command on their way to the array."""
    return data.StructLayout({"layer": command(config)})


def tile(config: EngineConfig) -> data.StructLayout:
    """What the drain must know of a tile: n_par outputs of every vector of a command.

    `only`: a vector's outputs, `count`, are one chunk of out_par.
    """
    return data.StructLayout(
        {
            "vectors": clog2(config.m_par + 1),
            "count": clog2(config.n_par + 1),
            "only": 1,
            "last": 1,
        }
        | ({"group_first": 1, "group_last": 1} if config.scale_out == "groups" else {})
    )


def word(config: EngineConfig) -> Lanes:
    """What one read of the activation buffer gives: k_par quantized activations, or a part."""
    return Lanes(signed(config.act_bits), config.part_lanes)


def activation_address(config: EngineConfig) -> int:
    """Width of an address of the activation buffer: a word, below it the bank, a part lowest."""
    return clog2(BANKS * config.words_max) + clog2(config.word_parts)


def slot_bits(config: EngineConfig) -> int:
    """Width of a chunk's place in what one address of the activation buffer holds."""
    return max(1, clog2(config.slots_per_word // config.word_parts))


def options(config: EngineConfig) -> Lanes:
    """The signed sums of every group that are not zero, group by group."""
    kept = sum(any(entry) for entry in config.entries)
    return Lanes(signed(config.term_bits), config.groups * kept)


def group_options(config: EngineConfig, value, g: int) -> list:
    """Return the options of group `g` in the order of ``config.entries``, without zero."""
    kept = sum(any(entry) for entry in config.entries)
    return [value[i] for i in range(g * kept, (g + 1) * kept)]

