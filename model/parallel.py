"""Devices: one, or several under torchrun, with PyTorch's DDP or FSDP2."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from golden.config import ModelConfig

from .fbi import FbiLlm
from .initial import initialise
from .loss import chunked_loss
from .settings import TrainSettings
from .targets import Example
from .teacher import Teacher

BYTES_PER_PARAMETER = 16
"""fp32 parameter, gradient and the two moments of AdamW."""


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int
    size: int
    device: torch.device

    @property
    def cuda(self) -> bool:
        """True on a GPU."""
        return self.device.type == "cuda"

    @classmethod
    def join(cls) -> World:
        """Return this process's place; starts the process group under torchrun."""
        cuda = torch.cuda.is_available()
        if "LOCAL_RANK" not in os.environ:
            return cls(0, 1, torch.device("cuda", 0) if cuda else torch.device("cpu"))
        device = torch.device("cpu")
        if cuda:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def sum(self, values: Tensor) -> Tensor:
        """Sum `values` over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return what each process gave, in their order: small objects of one's own kinds."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


def run_program(main: Callable[[], object]) -> NoReturn:
    """Run `main` as a whole program, alone or under torchrun, and end the process.

    Under torchrun the process ends without finalizing the interpreter: gloo's workers outlive
    ``destroy_process_group``, and one that lets go of its last tensor while the interpreter is
    being finalized aborts the process (pytorch/pytorch pull request 179291).
    """
    code: object = 0
    try:
        main()
    except SystemExit as end:  # how click ends, with success too
        code = end.code
    except BaseException:  # printed as the interpreter would have
        traceback.print_exc()
        code = 1
    if "LOCAL_RANK" not in os.environ:
        sys.exit(code)  # type: ignore[arg-type]
    if dist.is_initialized() and code in (0, None):
        dist.destroy_process_group()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def repeat_to_the_bit() -> None:
    """Choose kernels whose result is the same in every run, for the whole process.

    It must come before the first matrix product on a GPU, and before anything is compiled. What has
    no such kernel only warns, outside of `exact_backward`: ``cumsum`` along rows and ``scatter_``
    to places that differ repeat as they are.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False


@contextmanager
def exact_backward() -> Iterator[None]:
    """Let attention's backward pass repeat to the bit, if `repeat_to_the_bit` was called.

    PyTorch's fused kernels do so only while what cannot repeat is an error, not a warning. cuDNN's
    never does, and is chosen in the forward pass: `model.fbi.attend` passes over it.
    """
    wanted = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(wanted, warn_only=warned)


def compile_decoder(
    model: FbiLlm | Teacher, device: torch.device, *, backend: str | Any = "inductor"
) -> None:
    """Compile decoder layers and the final norm in place, on a GPU; layers share one graph.

    The layers' forward alone, so that the hooks of FSDP2 around it stay outside of the graph. The
    final norm would else be a dozen passes over the hidden states.
    """
    if device.type == "cuda" or backend != "inductor":
        for layer in model.layers:
            layer.forward = torch.compile(layer.forward, backend=backend)
        model.finish = torch.compile(model.finish, backend=backend)  # type: ignore[method-assign]


class Objective(nn.Module):
    """The student with its loss: one forward, so that DDP and FSDP2 see the use of the head."""

    def __init__(self, student: FbiLlm) -> None:
        super().__init__()
        self.student = student

    def forward(self, example: Example) -> Tensor:
        """Return the loss summed over the positions of `example`, a scalar fp32."""
        hidden = self.student.features(example.tokens).flatten(0, 1)
        return chunked_loss(hidden, self.student.lm_head.weight, example.wanted)


def choose_engine(parallel: str, world: World, parameters: int) -> str:
    """Return ``single``, ``ddp`` or ``fsdp``.

    ``auto`` takes DDP while parameters, gradients and moments fill less than a third of a device:
    DDP sends each gradient once and no weights.
    """
    if parallel == "fsdp":
        return "fsdp" if world.size > 1 else "single"
    if world.size == 1:
        return "single"
    if parallel == "ddp" or not world.cuda:
        return "ddp"
    memory = torch.cuda.get_device_properties(world.device).total_memory
    return "ddp" if BYTES_PER_PARAMETER * parameters < memory / 3 else "fsdp"


class Replica:
    """The student on this process, under the engine that joins the processes.

    Parameters
    ----------
    settings, config : the run
    world : this process
    parallel : ``auto``, ``ddp`` or ``fsdp``
    given : weights to start from, by name

    Attributes
    ----------
    student : FbiLlm, whose parameters are DTensors under FSDP2
    engine : ``single``, ``ddp`` or ``fsdp``
    """

    def __init__(
        self,
        settings: TrainSettings,
        config: ModelConfig,
        world: World,
        *,
        parallel: str = "auto",
        given: dict[str, Tensor] | None = None,
    ) -> None:
        self.world = world
        with torch.device("meta"):
            student = FbiLlm(config, binary=settings.binary, scale_axis=settings.scale_axis)
        self.parameters = sum(p.numel() for p in student.parameters())
        self.engine = choose_engine(parallel, world, self.parameters)
        objective = Objective(student)
        if self.engine == "fsdp":
            mesh = init_device_mesh(world.device.type, (world.size,))
            policy = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16 if world.cuda else None, reduce_dtype=torch.float32
            )
            for layer in student.model.layers:
                fully_shard(layer, mesh=mesh, mp_policy=policy)
            fully_shard(objective, mesh=mesh, mp_policy=policy)
        objective.to_empty(device=world.device)
        initialise(student, settings.seed, given)
        compile_decoder(student, world.device)
        student.recompute = settings.recompute
        self.student = student
        self._module: Any = objective
        if self.engine == "ddp":
            self._module = DistributedDataParallel(objective, gradient_as_bucket_view=True)

    def backward(self, example: Example, scale: float, *, last: bool) -> Tensor:
        """Add the gradients of ``scale`` times the summed loss of a micro-batch.

        Gradients are averaged over the processes with the `last` micro-batch of a step. Returns
        the summed loss, detached.
        """
        if isinstance(self._module, FSDPModule):
            self._module.set_requires_gradient_sync(last)
        alone = self.engine == "ddp" and not last
        autocast = self.world.cuda and self.engine != "fsdp"
        with self._module.no_sync() if alone else nullcontext():
            with torch.autocast(self.world.device.type, torch.bfloat16, enabled=autocast):
                loss = self._module(example)
            with exact_backward():
                (loss * scale).backward()
        return loss.detach()

    def clip(self, most: float) -> Tensor:
        """Clip the gradients to a norm of `most` over all of them; return the norm before."""
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), most)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def full_state(self) -> dict[str, Tensor]:
        """Return all parameters whole, on the CPU; empty on all processes but the first.

        Every process must call it.
        """
        state = {}
        for name, value in self.student.state_dict().items():
            whole = value.full_tensor() if isinstance(value, DTensor) else value
            if self.world.rank == 0:
                state[name] = whole.detach().cpu()
        return state
