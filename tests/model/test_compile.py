"""What a GPU compiles: traced here with a backend that needs none, in one graph each."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from model import fbi
from model.fbi import FbiLlm
from model.first_piece import FirstPiece
from model.loss import _loss_chunk
from model.parallel import compile_decoder
from model.targets import Targets

from .test_initial import ALIKE
from .tiny import SIZE, VOCABULARY, rows, teacher


def compiled(function):
    torch.compiler.reset()
    return torch.compile(function, backend="aot_eager", fullgraph=True)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's
@pytest.mark.parametrize("axis", ["column", "both"])
def test_a_student_layer_is_one_graph_and_keeps_the_stream_in_bf16(axis):
    torch.manual_seed(0)
    model = FbiLlm(ALIKE, scale_axis=axis)
    tokens = torch.randint(19, (2, 8))
    streams = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda m, i, o: streams.append(o.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        plain = model.features(tokens)
        layer = model.model.layers[0]
        x = model.model.embed_tokens(tokens).detach().bfloat16()
        ours = compiled(layer.forward)(x, model.cos[:8], model.sin[:8])
        expected = layer(x, model.cos[:8], model.sin[:8])
    assert plain.dtype == torch.bfloat16
    assert set(streams) == {torch.bfloat16}
    assert torch.allclose(ours, expected, atol=1e-2)
    ours.float().square().sum().backward()
    assert layer.mlp.up_proj.wscale.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's too
def test_all_layers_share_one_graph_the_final_norm_has_another_and_both_learn():
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    torch.manual_seed(0)
    model = FbiLlm(replace(ALIKE, num_hidden_layers=12))
    compile_decoder(model, torch.device("cpu"), backend=counter)
    tokens = torch.randint(19, (2, 8))
    for _ in range(2):
        model(tokens).square().sum().backward()
    assert counter.frame_count == 2
    ours = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for layer in model.model.layers:
        del layer.forward  # the compiled one hides the class's
    del model.finish
    for _ in range(2):
        model(tokens).square().sum().backward()
    for a, b in zip(ours, model.parameters(), strict=True):
        assert torch.allclose(a, b.grad, rtol=1e-3, atol=1e-5)


def test_what_attention_may_not_use_stands_in_the_graph(monkeypatch):
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    q, k = torch.randn(1, 4, 8, 16), torch.randn(1, 2, 8, 16)
    expected = fbi.attend(q, k, k, None, grouped=True)
    for must in (False, True):
        torch.compiler.reset()
        monkeypatch.setattr(fbi, "_must_repeat", lambda q, must=must: must)
        ours = torch.compile(fbi.attend, backend=keep, fullgraph=True)(q, k, k, None, True)
        assert torch.allclose(ours, expected)
    called = [{node.target for node in graph.graph.nodes} for graph in graphs]
    asks = torch.nn.attention._sdpa_kernel
    assert [asks in targets for targets in called] == [False, True], (
        "PyTorch's cache of graphs knows them by their nodes, not by which kernels were allowed"
    )


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's
def test_a_teacher_layer_is_one_graph():
    model = teacher()
    x = torch.randn(2, 8, 24)
    cos, sin = model.cos[:8], model.sin[:8]
    assert torch.allclose(
        compiled(model.layers[0].forward)(x, cos, sin), model.layers[0](x, cos, sin), atol=1e-5
    )


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("size", [SIZE, 19])
def test_a_chunk_of_the_loss_is_one_graph(shares, size):
    targets = Targets(
        VOCABULARY, size=size, context=12, shares=shares, device=torch.device("cpu"),
        teacher=teacher(),
    )  # fmt: skip
    wanted = targets(torch.from_numpy(rows(3).astype("int64"))).wanted
    assert wanted.pool is None or isinstance(wanted.pool, FirstPiece)
    student, head = torch.randn(36, 8), torch.randn(size, 8)
    arguments = (student, head, wanted.label, wanted.source, wanted.hidden, wanted.head,
                 wanted.pool, wanted.shares)  # fmt: skip
    for ours, expected in zip(compiled(_loss_chunk)(*arguments), _loss_chunk(*arguments),
                              strict=True):  # fmt: skip
        assert torch.allclose(ours, expected, atol=1e-4)
