"""Packed models as GGUF files, and back, bit by bit.

GGUF's type Q1_0 holds 128 weights of a row as 128 bits (least significant first, 1 = +1, as here)
and one float16 scale. FBI-LLM's scale and shift lie on the input axis, one of each for every input:
no choice of Q1_0's scales can hold them. So Q1_0 carries the signs alone, every scale 1, and alpha
and beta stand beside them as float16 tensors, ``.scale_in`` and ``.shift_in`` ``[K]``. The
architecture is called ``fbi-llm``, so that a program that knows only LLaMA refuses the file instead
of computing without them. Rows of q and k are in the rotate-half order of Hugging Face.

Nothing of the model is lost; the 1-bit weights take 1.125 bits. Files of the folder other than
config.json and tokenizer.json do not come along. Needs the package ``gguf``.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from golden.config import FBI_LINEARS, ModelConfig, linear_key
from golden.errors import InputError
from golden.folder import EMBEDDING, FINAL_NORM, HEAD, METADATA, expected_tensors, load_packed
from golden.generate import parsed_tokenizer

from .export import check_replaceable, write_packed
from .gguf_reader import gguf_package, open_gguf, reading

if TYPE_CHECKING:
    from gguf import GGUFReader

ARCHITECTURE = "fbi-llm"
BLOCK = 128
"""Weights of a row to a Q1_0 block: 2 bytes of scale and 16 of signs."""
CONFIG, HEADER, TOKENIZER = "signacc.config", "signacc.metadata", "tokenizer.huggingface.json"
"""Keys of config.json, of the metadata of model.safetensors (JSON), and of tokenizer.json."""

_ONE = np.float16(1).view(np.uint16)
_NAMES = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}
_NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def _tensor_names(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield (name here, name in GGUF) of every tensor of a packed model."""
    yield EMBEDDING, "token_embd.weight"
    yield FINAL_NORM, "output_norm.weight"
    if not config.tie_word_embeddings:
        yield HEAD, "output.weight"
    for layer in range(config.num_hidden_layers):
        for ours, theirs in _NORMS.items():
            yield f"model.layers.{layer}.{ours}.weight", f"blk.{layer}.{theirs}.weight"
        for name in FBI_LINEARS:
            for ours, theirs in (("signs", "weight"), ("scale_in",) * 2, ("shift_in",) * 2):
                yield f"{linear_key(layer, name)}.{ours}", f"blk.{layer}.{_NAMES[name]}.{theirs}"


def export_gguf(folder: Path, path: Path) -> Path:
    """Write the packed model in `folder` to the GGUF file `path`, under a temporary name first.

    Raises
    ------
    InputError
        If the model cannot be read, the inputs of a layer are no multiple of 128 (a row of Q1_0 has
        whole blocks), or `gguf` is not installed.
    OSError
        If the file cannot be written; one that was there is left as it was.
    """
    gguf = gguf_package()
    folder, path = Path(folder), Path(path)
    packed = load_packed(folder)
    config = packed.config
    for name in FBI_LINEARS:
        inputs = config.linear_shape(name)[1]
        if inputs % BLOCK:
            raise InputError(
                f"a GGUF file holds rows of whole blocks of {BLOCK} signs; {name} has {inputs} "
                "inputs"
            )
    tensors = {EMBEDDING: packed.embedding, FINAL_NORM: packed.final_norm, HEAD: packed.head}
    for layer, (linears, norms) in enumerate(zip(packed.linears, packed.norms, strict=True)):
        tensors |= {f"model.layers.{layer}.{n}.weight": norm for n, norm in norms.items()}
        for name, linear in linears.items():
            key = linear_key(layer, name)
            tensors |= {f"{key}.{part}": value for part, value in vars(linear).items()}
    if path.is_dir():
        raise IsADirectoryError(21, "an output file must not be a folder", str(path))
    handle, work = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    writer = gguf.GGUFWriter(work, ARCHITECTURE)
    try:
        _write_keys(writer, folder, config, packed.metadata)
        for ours, theirs in _tensor_names(config):
            if ours.endswith(".signs"):
                writer.add_tensor(
                    theirs, _blocks(tensors[ours]), raw_dtype=gguf.GGMLQuantizationType.Q1_0
                )
            else:
                writer.add_tensor(theirs, tensors[ours])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with open(work, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(work, 0o644)
        os.replace(work, path)
    except BaseException:
        with suppress(OSError, AttributeError):  # it may not have opened its file, or not flush it
            writer.close()
        with suppress(FileNotFoundError):
            os.unlink(work)
        raise
    return path


def _write_keys(
    writer: Any, folder: Path, config: ModelConfig, metadata: dict[str, str]
) -> None:
    writer.add_name(folder.resolve().name)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    # The keys above are for other readers; what follows is what is read back, exactly.
    writer.add_string(CONFIG, (folder / "config.json").read_text(encoding="utf-8"))
    writer.add_string(HEADER, json.dumps(metadata, sort_keys=True))
    tokenizer = folder / "tokenizer.json"
    if tokenizer.is_file():
        try:
            text = tokenizer.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{tokenizer} must be UTF-8 text: {error}") from None
        writer.add_string(TOKENIZER, text)


def _blocks(signs: np.ndarray) -> np.ndarray:
    """Return uint8 ``[N, K/8]`` as Q1_0 rows uint8 ``[N, K/128·18]`` with every scale 1."""
    bits = signs.reshape(len(signs), -1, BLOCK // 8)
    scale = np.full((*bits.shape[:2], 1), _ONE, dtype="<u2").view(np.uint8)
    return np.concatenate([scale, bits], axis=2).reshape(len(signs), -1)


def import_gguf(path: Path, output: Path) -> ModelConfig:
    """Write the packed model folder that a file of `export_gguf` holds; return its shape.

    Raises
    ------
    InputError
        If the file is damaged or of another model, or `output` holds something else; `output` is
        then left as it was.
    """
    gguf = gguf_package()
    path = Path(path)
    check_replaceable(Path(output))
    reader = open_gguf(path, "the model")
    with reading(path):
        config, files, metadata, extra = _read_keys(reader, path)
        tensors = _read_tensors(gguf, reader, path, config)
    write_packed(tensors, metadata, config, output, extra_files=files, extra_config=extra)
    return config


def _read_keys(
    reader: GGUFReader, path: Path
) -> tuple[ModelConfig, dict[str, str], dict[str, str], dict[str, object]]:
    """Return shape, text files, metadata and further keys of config.json."""

    def text(key: str) -> str | None:
        field = reader.fields.get(key)
        value = None if field is None else field.contents()
        return value if isinstance(value, str) else None

    architecture = text("general.architecture")
    if architecture != ARCHITECTURE:
        raise InputError(
            f"{path} must be of architecture {ARCHITECTURE}, not {architecture!r}"
        )
    given, header = text(CONFIG), text(HEADER)
    if given is None or header is None:
        raise InputError(f"{path} must hold the texts {CONFIG} and {HEADER}")
    data, metadata = json.loads(given), json.loads(header)
    config = ModelConfig.from_dict(data, where=f"{CONFIG} in {path}")
    whole = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not whole or not metadata.items() >= METADATA.items():
        raise InputError(f"{HEADER} in {path} must be the metadata of a packed model")
    tokenizer = text(TOKENIZER)
    if tokenizer is not None:
        parsed_tokenizer(tokenizer.encode(), config, where=f"{TOKENIZER} in {path}")
    files = {} if tokenizer is None else {"tokenizer.json": tokenizer}
    return config, files, metadata, data


def _read_tensors(
    gguf: Any, reader: GGUFReader, path: Path, config: ModelConfig
) -> dict[str, torch.Tensor]:
    found = {tensor.name: tensor for tensor in reader.tensors}
    names = dict(_tensor_names(config))
    missing = sorted(set(names.values()) - found.keys())
    unknown = sorted(found.keys() - set(names.values()))
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"holds {unknown[0]}, which is none of them"
        raise InputError(f"{path} must hold the tensors that its configuration asks for; it {what}")
    kinds = gguf.GGMLQuantizationType
    tensors = {}
    for ours, (_, shape) in expected_tensors(config).items():
        tensor = found[names[ours]]
        signs = ours.endswith(".signs")
        want = kinds.Q1_0 if signs else kinds.F16
        dims = (shape[0], shape[1] * 8) if signs else shape
        has = tuple(int(d) for d in tensor.shape[::-1])  # GGUF counts from the inside
        if (tensor.tensor_type, has) != (want, dims):
            raise InputError(
                f"{path}: {tensor.name} must be {want.name} {list(dims)}, not "
                f"{tensor.tensor_type.name} {list(has)}"
            )
        data = np.array(tensor.data).reshape(shape[0], -1) if signs else np.array(tensor.data)
        if signs:
            blocks = data.reshape(shape[0], -1, 2 + BLOCK // 8)
            if (np.ascontiguousarray(blocks[:, :, :2]).view("<u2") != _ONE).any():
                raise InputError(
                    f"{path}: the scales of {tensor.name} must all be 1: scale_in and shift_in "
                    "say the rest"
                )
            data = blocks[:, :, 2:].reshape(shape)
        elif not np.isfinite(data).all():
            raise InputError(
                f"{path}: {tensor.name} must hold finite numbers, not NaN or infinity"
            )
        tensors[ours] = torch.from_numpy(np.ascontiguousarray(data))
    return tensors
