import numpy as np
import pytest

from golden.errors import InputError
from model.gguf_reader import open_gguf
from model.teacher import load_teacher
from model.tokenizer import read_vocabulary

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
