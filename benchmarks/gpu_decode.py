"""Decode speed and energy of dense bf16 models on a GPU, batch 1, with CUDA graphs.

    python benchmarks/gpu_decode.py --out benchmarks/results/gpu_decode_h200.json

One token attends to `context` cached positions; a step is embedding, layers, head and argmax,
captured once as a CUDA graph and replayed. Variants: `eager` captures PyTorch's own kernels,
`compiled` the kernels of torch.compile. Energy is the board's NVML counter over `--seconds` of
replays.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from program import OutputFile, Program
from torch import Tensor

from golden.config import ModelConfig, named_model
from model.fbi import FbiLlm
from model.teacher import rotate
from signacc.baseline.device import require_gpu
from signacc.baseline.power import NvmlBoard
from signacc.files import write_text


class Decoder:
    """One decode step of a dense model with a full cache of `context` positions."""

    def __init__(self, config: ModelConfig, context: int, *, compiled: bool) -> None:
        self.config = config
        with torch.device("cuda"):
            self.model = FbiLlm(config, binary=False).bfloat16().requires_grad_(False)
        shape = (config.num_hidden_layers, 1, config.num_key_value_heads, context, config.head_dim)
        self.keys = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
        self.values = torch.randn_like(self.keys)
        self.token = torch.zeros((1, 1), dtype=torch.int64, device="cuda")
        self.cos = self.model.cos[context - 1 : context].bfloat16()
        self.sin = self.model.sin[context - 1 : context].bfloat16()
        self.last = context - 1
        self.step_function = torch.compile(self._step) if compiled else self._step

    def _step(self, token: Tensor) -> Tensor:
        c = self.config
        x = self.model.model.embed_tokens(token)
        for i, layer in enumerate(self.model.model.layers):
            a = layer.self_attn
            h = layer.input_layernorm(x)
            q, k, v = (
                p(h).view(1, 1, -1, c.head_dim).transpose(1, 2)
                for p in (a.q_proj, a.k_proj, a.v_proj)
            )
            q, k = rotate(q, self.cos, self.sin), rotate(k, self.cos, self.sin)
            self.keys[i, :, :, self.last : self.last + 1] = k
            self.values[i, :, :, self.last : self.last + 1] = v
            y = F.scaled_dot_product_attention(q, self.keys[i], self.values[i], enable_gqa=True)
            x = x + a.o_proj(y.transpose(1, 2).reshape(1, 1, -1))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self.model.lm_head(self.model.model.norm(x)).argmax(-1)

    @torch.no_grad()
    def capture(self) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                self.token.copy_(self.step_function(self.token))
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.token.copy_(self.step_function(self.token))
        return graph


def measure(graph: torch.cuda.CUDAGraph, nvml: NvmlBoard, seconds: float) -> dict[str, float]:
    """Replay for `seconds`; median tokens/s of stretches of 50 tokens, J/token of the whole."""
    for _ in range(200):
        graph.replay()
    torch.cuda.synchronize()
    rates, tokens = [], 0
    time.sleep(0.2)
    energy, start = nvml.joules(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(50):
            graph.replay()
        end.record()
        end.synchronize()
        tokens += 50
        rates.append(50e3 / begin.elapsed_time(end))
    wall = time.perf_counter() - start
    used = nvml.joules() - energy
    return {
        "tokens_per_second_median": round(statistics.median(rates), 1),
        "joules_per_token": round(used / tokens, 5),
        "watts": round(used / wall, 1),
        "tokens": tokens,
        "seconds": round(wall, 2),
    }


@click.command(cls=Program)
@click.option("--models", default="fbi-43m,fbi-130m,fbi-1.3b,fbi-7b", show_default=True)
@click.option("--context", default=512, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Steady state per variant.")
@click.option("--out", type=OutputFile(), required=True)
def main(models: str, context: int, seconds: float, out: Path) -> None:
    """Measure each model shape, random weights, and write one JSON file."""
    require_gpu()
    nvml = NvmlBoard(str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid))
    torch.zeros(1, device="cuda")
    time.sleep(2)
    energy, start = nvml.joules(), time.perf_counter()
    time.sleep(5)
    idle = (nvml.joules() - energy) / (time.perf_counter() - start)
    result: dict[str, object] = {
        "what": "dense bf16 decode, batch 1, CUDA graphs, random weights",
        "context": context,
        "command": f"python benchmarks/gpu_decode.py --models {models} --context {context} "
        f"--seconds {seconds} --out {out}",
        "gpu": torch.cuda.get_device_name(),
        "driver": nvml.driver(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
        },
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "idle_watts": round(idle, 1),
        "models": {},
    }
    for name in models.split(","):
        config = named_model(name)
        entry: dict[str, object] = {"parameters": None}
        for variant in ("eager", "compiled"):
            decoder = Decoder(config, context, compiled=variant == "compiled")
            entry["parameters"] = sum(p.numel() for p in decoder.model.parameters())
            entry[variant] = measure(decoder.capture(), nvml, seconds)
            click.echo(f"{name} {variant}: {json.dumps(entry[variant])}")
            del decoder
            torch.cuda.empty_cache()
        result["models"][name] = entry
        write_text(out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
