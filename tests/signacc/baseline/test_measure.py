"""Measuring with a fake device: no GPU, no Triton."""

import json
from types import SimpleNamespace

import pytest
import torch

from golden.config import named_model
from signacc.baseline import measure, run, timing, work
from signacc.baseline.errors import GateError
from signacc.baseline.plan import AUTO, EARLY, Plan
from signacc.baseline.points import Point, Result
from sim.baselines import load_record


def result(point):
    return Result(point, 100.0, 0.01, 5, 0.5, 0.1, 0.5, early="all")


def test_out_of_memory_is_one_point_and_the_rest_goes_on(monkeypatch):
    class Cache:
        keys = (torch.zeros(0),)

    class Path:
        def cache(self, batch, capacity):
            return Cache()

    class Decoder:
        path = Path()

    def fake(decoder, cache, point, *_, **__):
        if point.batch == 256:
            raise torch.OutOfMemoryError
        return result(point)

    monkeypatch.setattr(measure, "measure", fake)
    Cache.keys = (torch.zeros(1, 1, 2),)
    points = [Point("m", "bf16", "decode", batch, 2) for batch in (1, 256, 4)]
    found = list(
        measure.measure_all(Decoder(), points, None, None, seconds=1, energy_seconds=1)
    )
    assert [r is None for _, r in found] == [False, True, False]


@pytest.mark.parametrize("fastest", EARLY)
def test_the_fastest_way_to_start_kernels_early_is_kept(monkeypatch, fastest):
    class Path:
        early_ways, now, tried = EARLY, None, ()

        def start_early(self, way):
            self.now = way

    class Graph:
        def __init__(self, way):
            self.way = way

        def replay(self):
            return self.way

    path = Path()
    monkeypatch.setattr(measure, "capture", lambda step: Graph(step()))

    def times(run, *, seconds, repeats):
        path.tried += (run(),)
        return timing.Times(1.0 if run() == fastest else 2.0, 1.0, 0.0, repeats, 1)

    monkeypatch.setattr(measure, "repeated", times)
    assert measure.fastest_early(path, lambda: path.now, 0.1) == fastest
    assert path.now == fastest
    assert path.tried == EARLY


def test_a_device_without_early_starts_has_no_choice(monkeypatch):
    class Path:
        early_ways, now = ("none",), None

        def start_early(self, way):
            self.now = way

    path = Path()
    assert measure.fastest_early(path, None, 0.1) == path.now == "none"


@pytest.mark.parametrize(
    ("stretches", "patience", "taken"),
    [
        ([1.0, 1.0, 1.01, 9.0], 9, [1.0, 1.0, 1.01]),
        ([1.0, 1.2, 1.21, 1.2, 9.0], 9, [1.2, 1.21, 1.2]),  # clocks fell after the first
        ([1.0, 1.2, 1.0, 9.0], 0, [1.0, 1.2, 1.0]),
        ([1.0, 1.2, 1.0, 1.2, 1.0, 9.0], 2, [1.2, 1.0, 1.2]),  # never steady: the spread says so
    ],
)
def test_a_time_is_taken_when_clocks_have_settled_or_patience_ends(
    monkeypatch, stretches, patience, taken
):
    left = iter([0.1, 0.1, 0.1, *stretches])  # compiles, says how long a step takes, warms up
    clock = iter(range(99))
    monkeypatch.setattr(timing, "seconds_of", lambda run, steps: next(left))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    times = timing.repeated(None, seconds=1, repeats=3, patience=patience)
    assert times.median == sorted(taken)[1]
    assert times.best == min(taken)
    assert times.spread == pytest.approx((max(taken) - min(taken)) / times.median)


@pytest.mark.parametrize(
    ("bits", "int8", "seconds"),
    [(None, 4.0, 11.0), (16, 4.0, 11.0), (8, 4.0, 3 + 2.0), (8, None, 11.0)],
)
def test_linears_of_8_bit_activations_are_measured_by_the_int8_ceiling(bits, int8, seconds):
    ceilings = timing.Ceilings(1.0, 1.0, int8)
    assert measure._flop_seconds(11, 8, bits, ceilings) == seconds


class Board:
    def __init__(self, uuid):
        pass

    def joules(self):
        raise AssertionError("no energy was asked for")

    def driver(self):
        return "1.2"


@pytest.fixture
def machine(monkeypatch):
    """A fake GPU; returns what `measure_all` gives for each path."""
    outcomes = {}

    class Properties:
        uuid = "x"

    monkeypatch.setattr(run, "require_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(run, "NvmlBoard", Board)
    monkeypatch.setattr(run, "measure_ceilings", lambda: timing.Ceilings(4e12, 8e14))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "fake GPU")
    monkeypatch.setattr(run, "triton_version", lambda: "0")
    monkeypatch.setattr(run, "make_decoder", lambda name, model, device, gemm: name)

    def check(name, model, device, gemm):
        if outcomes.get(name) == "wrong":
            raise GateError("decode: the error must be at most 0.1, not 0.5; it is not timed")
        return []

    def measure_all(decoder, points, *_, **__):
        if outcomes.get(decoder) == "unsupported":
            raise RuntimeError("no kernel for this device\nmore")
        for point in points:
            yield point, None if point.batch == 256 else result(point)

    monkeypatch.setattr(run, "check_path", check)
    monkeypatch.setattr(run, "measure_all", measure_all)
    return outcomes


def test_a_run_records_figures_and_gaps_by_reason(machine, tmp_path):
    machine |= {"int4": "unsupported", "sign-a8": "wrong"}
    saved = []
    plan = Plan(models=("fbi-7b",), batches=(1, 256), contexts=(512,), phases=("decode",),
                energy=False)
    measured = run.Run(plan, name="gpu", command="signacc baseline", seconds=1, energy_seconds=5,
                       save=saved.append, say=lambda text: None)()
    assert saved[-1].baselines == measured.baselines
    assert {entry.early for entry in measured.baselines} == {"all"}
    assert [(e.name, e.batch) for e in measured.baselines] == [("gpu-bf16", 1), ("gpu-sign-a16", 1)]
    reasons = {(gap.path, gap.batch): gap.reason for gap in measured.gaps}
    assert reasons["bf16", 256] == "out of memory"
    assert reasons["int4", 1] == "does not run: no kernel for this device"
    assert reasons["sign-a8", 256].startswith("decode: the error must be at most 0.1")
    path = tmp_path / "record.json"
    path.write_text(json.dumps(measured.to_json()), encoding="utf-8")
    assert load_record(path) == measured


@pytest.mark.parametrize("gemm", ["triton", "warpgroup"])
def test_provenance_says_which_gemm(machine, gemm):
    def record(*paths):
        plan = Plan(("fbi-7b",), paths, ("decode",), (64,), (512,), energy=False, gemm=gemm)
        return run.Run(plan, name="gpu", command="signacc baseline", seconds=1, energy_seconds=5,
                       save=lambda record: None, say=lambda text: None)()

    assert record("sign-a16").provenance.gemm == gemm
    assert record("sign-a16").baselines[0].source == f"fake GPU, driver 1.2, 1-bit GEMM {gemm}"
    assert record("bf16").provenance.gemm is None
    assert Plan().gemm == AUTO


def test_floors_of_the_7b_model():
    config = named_model("fbi-7b")
    # facts of the published shapes: packed linears 810 MB, fp16 head 262 MB
    packed = work.decode_bytes(config, config.binary_weights // 8, 1, 512)
    cache = 32 * 2 * 4096 * 512 * 2
    assert packed - cache == pytest.approx((810 + 262) * 1e6, rel=1e-3)
    assert work.decode_flops(config, 2, 512) == 2 * work.decode_flops(config, 1, 512)
    one = work.prefill_flops(config, 1, 1)
    assert one == work.decode_flops(config, 1, 1)


def test_a_prefill_is_cut_into_equal_parts():
    assert measure.parts_of(256, 512) == 16
    assert measure.parts_of(1, 2048) == 1
    assert measure.parts_of(4, 128) == 1


@pytest.mark.parametrize("context", [128, 512, 2048, 8192, 9000])
def test_parts_hold_every_sequence_once(context):
    """Tokens are counted of the whole batch, so its parts must add up to it."""
    for batch in range(1, 80):
        parts = measure.parts_of(batch, context)
        shapes = []
        decoder = SimpleNamespace(
            config=SimpleNamespace(vocab_size=8),
            path=SimpleNamespace(device=torch.device("cpu")),
            prefill=lambda prompt, cache, into=shapes: into.append(tuple(prompt.shape))
            or torch.zeros(len(prompt), 8),
        )
        point = Point("m", "bf16", "prefill", batch, context)
        step, steps = measure.step_of(decoder, None, point)
        step()
        assert steps == parts
        assert shapes == [(batch // parts, context)]
        assert parts * shapes[0][0] == batch
        assert shapes[0][0] == 1 or shapes[0][0] * context <= measure.CHUNK_TOKENS


def test_energy_is_asked_of_a_subset_or_of_a_single_point():
    plan = Plan()
    points = plan.points("fbi-7b", "bf16")
    assert len(points) == 30
    assert {(p.phase, p.batch, p.context) for p in points if p.energy} == {
        ("decode", 1, 512), ("decode", 16, 512), ("decode", 256, 512),
        ("prefill", 1, 512), ("prefill", 16, 512),
    }
    assert all(p.energy for p in Plan(batches=(4,), contexts=(128,)).points("m", "bf16"))
    assert not any(p.energy for p in Plan(energy=False).points("m", "bf16"))
