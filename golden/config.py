"""Shape of a LLaMA-shaped FBI-LLM, with the key names of Hugging Face's ``config.json``.

Imports nothing heavy: golden, model and sim all describe models with this one class.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

from .errors import InputError

FBI_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The binarized linears of a decoder layer, in the order in which they run."""

SIZE_LIMIT = 1 << 22
"""Largest size in a configuration: far above any model, and tables of it still fit memory."""
LAYER_LIMIT = 1 << 12
"""Most decoder layers: each has dozens of tensors, whose names alone are memory."""
ROPE_LIMIT = 1 << 27
"""Most positions times elements of a head: the values of a rotary table, a gigabyte in float64."""

_ATTENTION = frozenset(FBI_LINEARS[:4])


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape and constants of an FBI-LLM decoder.

    All sizes are counts of elements. ``num_key_value_heads`` below ``num_attention_heads`` means
    grouped-query attention. ``bos_token_id`` stands before every prompt and ``eos_token_id`` ends a
    text; None if the model has none.

    Raises
    ------
    InputError
        If a size is not a positive integer, or sizes contradict one another.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self) -> None:
        for name in (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "vocab_size",
            "max_position_embeddings",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a positive integer, not {value!r}")
            limit = LAYER_LIMIT if name == "num_hidden_layers" else SIZE_LIMIT
            if value > limit:
                raise InputError(f"{name} must be at most {limit}, not {value}")
        if self.head_dim is None:
            if self.hidden_size % self.num_attention_heads:
                raise InputError(
                    f"hidden_size must be a multiple of num_attention_heads when head_dim is not "
                    f"given, not {self.hidden_size} with {self.num_attention_heads} heads"
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if not isinstance(self.head_dim, int) or self.head_dim < 2 or self.head_dim % 2:
            raise InputError(f"head_dim must be a positive even integer, not {self.head_dim!r}")
        if self.head_dim > SIZE_LIMIT:
            raise InputError(f"head_dim must be at most {SIZE_LIMIT}, not {self.head_dim}")
        if self.max_position_embeddings * self.head_dim > ROPE_LIMIT:
            raise InputError(
                f"max_position_embeddings times head_dim must be at most {ROPE_LIMIT}, not "
                f"{self.max_position_embeddings} times {self.head_dim}"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise InputError(
                f"num_attention_heads must be a multiple of num_key_value_heads, not "
                f"{self.num_attention_heads} and {self.num_key_value_heads}"
            )
        for name in ("rms_norm_eps", "rope_theta"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < 1e30:
                raise InputError(f"{name} must be a positive number, not {value!r}")
            # An integer of a JSON file may be beyond what PyTorch takes as one.
            object.__setattr__(self, name, float(value))
        if not isinstance(self.tie_word_embeddings, bool):
            raise InputError(
                f"tie_word_embeddings must be true or false, not {self.tie_word_embeddings!r}"
            )

        for name in ("bos_token_id", "eos_token_id"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (whole and 0 <= value < self.vocab_size):
                raise InputError(
                    f"{name} must be a token id from 0 to {self.vocab_size - 1} or null, "
                    f"not {value!r}"
                )

    def linear_shape(self, name: str) -> tuple[int, int]:
        """Return ``(N, K)`` = (outputs, inputs) of the FBI-linear called `name`."""
        hidden, ffn = self.hidden_size, self.intermediate_size
        query = self.num_attention_heads * self.head_dim
        key_value = self.num_key_value_heads * self.head_dim
        shapes = {
            "q_proj": (query, hidden),
            "k_proj": (key_value, hidden),
            "v_proj": (key_value, hidden),
            "o_proj": (hidden, query),
            "gate_proj": (ffn, hidden),
            "up_proj": (ffn, hidden),
            "down_proj": (hidden, ffn),
        }
        if name not in shapes:
            raise InputError(f"an FBI-linear is one of {', '.join(FBI_LINEARS)}, not {name!r}")
        return shapes[name]

    @property
    def binary_weights(self) -> int:
        """Count of 1-bit weights in the whole model."""
        per_layer = 0
        for name in FBI_LINEARS:
            outputs, inputs = self.linear_shape(name)
            per_layer += outputs * inputs
        return per_layer * self.num_hidden_layers

    def to_dict(self) -> dict[str, object]:
        """Return the fields as a dictionary that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, object], *, where: str = "config") -> ModelConfig:
        """Build from a ``config.json`` dictionary; keys of other tools are ignored.

        Raises
        ------
        InputError
            If a required key is missing or a value breaks its rule; `where` names the source.
        """
        if not isinstance(data, dict):
            raise InputError(f"{where} must be a JSON object, not {type(data).__name__}")
        known = {f.name for f in fields(cls)}
        required = {f.name for f in fields(cls) if f.default is MISSING}
        missing = sorted(required - data.keys())
        if missing:
            raise InputError(f"{where} must give {', '.join(sorted(required))}; missing: "
                             f"{', '.join(missing)}")
        try:
            return cls(**{key: value for key, value in data.items() if key in known})
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    @classmethod
    def from_folder(cls, folder: Path) -> ModelConfig:
        """Read ``config.json`` of a model folder."""
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise InputError(f"a model folder must hold config.json; there is none in {folder}")
        try:
            data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} must be valid JSON: {error}") from None
        return cls.from_dict(data, where=str(path))


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object, for ``object_pairs_hook``; raises ValueError if a key stands twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key must stand once in its object")
    return row


def linear_module(name: str) -> str:
    """Return the parent module (``self_attn`` or ``mlp``) of an FBI-linear, as in checkpoints."""
    return "self_attn" if name in _ATTENTION else "mlp"


def linear_key(layer: int, name: str) -> str:
    """Return the checkpoint prefix of an FBI-linear, e.g. ``model.layers.0.self_attn.q_proj``."""
    return f"model.layers.{layer}.{linear_module(name)}.{name}"


def _llama(
    hidden: int, ffn: int, layers: int, heads: int, vocab: int = 32000, context: int = 2048
) -> ModelConfig:
    return ModelConfig(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocab,
        max_position_embeddings=context,
    )


MODELS: dict[str, ModelConfig] = {
    # Published shapes: arXiv 2407.07093, FBI-LLM_configs of the published code.
    "fbi-130m": _llama(768, 2048, 12, 12),
    "fbi-1.3b": _llama(2048, 5632, 24, 32),
    "fbi-7b": _llama(4096, 11008, 32, 32),
    # The shape of SmolLM2-135M, the teacher, as its GGUF file's header gives it.
    "fbi-135m": ModelConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        rope_theta=100000.0,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    ),
    # The published 130M shape with one table for embedding and head: 60 MB packed, not 109.
    "fbi-110m": replace(
        _llama(768, 2048, 12, 12), tie_word_embeddings=True, bos_token_id=0, eos_token_id=0
    ),
    # The trained model that ships with signacc.
    "fbi-43m": replace(
        _llama(512, 1408, 12, 8, vocab=4096, context=512), bos_token_id=0, eos_token_id=0
    ),
}
"""Named model shapes."""


def named_model(name: str) -> ModelConfig:
    """Return the shape called `name`; raises InputError with the known names otherwise."""
    if name not in MODELS:
        raise InputError(f"a model is one of {', '.join(MODELS)}, not {name!r}")
    return MODELS[name]
