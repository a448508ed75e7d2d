import numpy as np
import pytest
import torch

from golden.errors import InputError
from model.teacher import _rotate_half_rows, load_teacher, rope_table, rotate
from model.tokenizer import read_vocabulary

from .tiny import teacher


def test_rows_of_interleaved_rotary_embeddings_are_put_in_order():
    """Scores of interleaved RoPE on the stored rows equal rotate-half RoPE on reordered rows."""
    heads, dim, hidden, positions = 2, 6, 5, 4
    random = np.random.default_rng(0)
    stored_q, stored_k = random.normal(size=(2, heads * dim, hidden))
    x = random.normal(size=(positions, hidden))
    cos, sin = (t.double() for t in rope_table(positions, dim, 100.0))

    def interleaved(rows):
        y = torch.from_numpy(x @ rows.T).view(positions, heads, dim).transpose(0, 1)
        pair = torch.complex(y[..., 0::2], y[..., 1::2])
        turned = pair * torch.complex(cos[:, : dim // 2], sin[:, : dim // 2])
        return torch.view_as_real(turned).flatten(-2)

    def halves(rows):
        reordered = _rotate_half_rows(rows, heads)
        y = torch.from_numpy(x @ reordered.T).view(positions, heads, dim).transpose(0, 1)
        return rotate(y, cos, sin)

    expected = interleaved(stored_q) @ interleaved(stored_k).mT
    assert torch.allclose(halves(stored_q) @ halves(stored_k).mT, expected)


def test_teacher_is_causal():
    model = teacher()
    tokens = torch.randint(0, 19, (2, 8), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 5:] = 3
    assert torch.allclose(model(tokens)[:, :5], model(changed)[:, :5], atol=1e-5)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"must be a GGUF file; there is none at .*gone"):
        load_teacher(tmp_path / "gone")


def test_teacher_knows_english(gguf):
    tokenizer = read_vocabulary(gguf).build()
    model = load_teacher(gguf, positions=64)
    ids = tokenizer.encode("The capital of France is", add_special_tokens=False).ids
    with torch.no_grad():
        following = int(model.logits(torch.tensor([ids]))[0, -1].argmax())
    assert tokenizer.decode([following]) == " Paris"


def test_the_gradient_of_rotate_is_the_one_of_finite_differences():
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64, generator=generator).requires_grad_()
    cos, sin = (torch.randn(5, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: rotate(x, cos, sin), (x,))
