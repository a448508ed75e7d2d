import struct

import numpy as np
import pytest

from golden.errors import InputError
from model.gguf_reader import open_gguf
from model.teacher import load_teacher
from model.tokenizer import read_vocabulary

from .tiny import write_gguf

gguf = pytest.importorskip("gguf")


@pytest.fixture
def teacher_file(tmp_path):
    """A LLaMA file of two tokens, with a vocabulary, and one tensor in place of the model's."""
    path = tmp_path / "t.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in (("block_count", 1), ("embedding_length", 8), ("feed_forward_length", 8)):
        getattr(writer, f"add_{name}")(value)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_vocab_size(2)
    writer.add_rope_freq_base(1e4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b"])
    writer.add_token_types([1, 3])
    writer.add_token_merges(["a b"])
    writer.add_tensor("token_embd.weight", np.zeros((2, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_whole_file_is_read(teacher_file):
    assert read_vocabulary(teacher_file).special == ("b",)
    assert len(open_gguf(teacher_file).tensors) == 1


def test_something_else_is_refused(tmp_path):
    path = tmp_path / "other.gguf"
    path.write_bytes(b"not a GGUF file at all")
    with pytest.raises(InputError, match=r"other\.gguf must be a complete GGUF file: "):
        open_gguf(path)
    with pytest.raises(InputError, match="the teacher must be a GGUF file; there is none at"):
        open_gguf(tmp_path / "none.gguf", "the teacher")


@pytest.mark.parametrize("eighth", range(8))
def test_a_truncated_file_is_refused_by_every_reader(teacher_file, eighth):
    data = teacher_file.read_bytes()
    teacher_file.write_bytes(data[: len(data) * eighth // 8])
    with pytest.raises(InputError, match=r"t\.gguf must be a complete GGUF file: "):
        read_vocabulary(teacher_file)
    with pytest.raises(InputError, match=r"t\.gguf must be a complete GGUF file: "):
        load_teacher(teacher_file)


def test_a_teacher_without_its_tensors_is_refused(teacher_file):
    with pytest.raises(InputError, match=r"complete GGUF file: 'output_norm\.weight'"):
        load_teacher(teacher_file)


# ---- heads that say more than there is ----------------------------------------------------------

HEAD = struct.Struct("<4sIQQ")
KEY = struct.pack("<Q", 1) + b"k"


def array(kind, length):
    return KEY + struct.pack("<IIQ", 9, kind, length)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # The package makes an empty array for every element that it does not find.
        (HEAD.pack(b"GGUF", 3, 0, 1) + array(4, 1 << 22), "keys, tensors and elements of arrays"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + array(4, 1 << 61), "keys, tensors and elements of arrays"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + array(4, 1 << 20), "it ends within its keys"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + array(8, 1 << 20), "must be a complete GGUF file"),
        # One byte each, and some hundred in memory.
        (HEAD.pack(b"GGUF", 3, 0, 1) + array(0, 1 << 22) + bytes(1 << 22), "at most 4194304"),
        (HEAD.pack(b"GGUF", 3, 1 << 63, 0), "keys, tensors and elements of arrays"),
        (HEAD.pack(b"GGUF", 3, 0, 1 << 63), "keys, tensors and elements of arrays"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + array(9, 1) + struct.pack("<IQ", 9, 1) * 10, "nested"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q", 1 << 62), "it ends within its keys"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + KEY + struct.pack("<I", 77), "the unknown type 77"),
    ],
)
def test_a_head_that_says_too_much(tmp_path, content, message):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.gguf must be a complete GGUF file: .*{message}|"
                                         rf"x\.gguf {message}"):  # fmt: skip
        open_gguf(path)


def test_a_file_of_the_other_byte_order(tmp_path):
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_token_list(["a", "b"])
    writer.add_token_types([1, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert open_gguf(path).fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("vocab_size", 1 << 31), ("feed_forward_length", 1 << 31), ("attention.head_count", 0),
     ("attention.head_count_kv", 1 << 31), ("embedding_length", 1 << 31)],
)  # fmt: skip
def test_sizes_that_the_teachers_tensors_do_not_have(tmp_path, key, value):
    """Nothing is made of the size that a file says of itself: the second one is a terabyte."""
    write_gguf(tmp_path / "t.gguf")
    data = (tmp_path / "t.gguf").read_bytes()
    name = f"llama.{key}".encode()
    place = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4
    changed = data[:place] + struct.pack("<I", value) + data[place + 4 :]
    (tmp_path / "t.gguf").write_bytes(changed)
    with pytest.raises(InputError, match=r"t\.gguf must be a complete GGUF file: "):
        load_teacher(tmp_path / "t.gguf")
