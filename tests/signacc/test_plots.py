"""Plots of estimates: drawn, whole PNG files, and nothing written when matplotlib is missing."""

import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from golden.config import named_model
from sim.system import estimate, named_link, named_system, simulate
from sim.system.config import MemoryPorts

KV260 = named_system("kv260")


def size(png):
    """Return width and height of a PNG image."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert png[-8:-4] == b"IEND"
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize(
    "result",
    [
        estimate(named_model("fbi-43m"), KV260),
        simulate(named_model("fbi-43m"), KV260, prefill=8, decode=2, batch=2),
        simulate(named_model("fbi-43m"), KV260, prefill=8, decode=0),
        estimate(
            named_model("fbi-43m"), replace(KV260, chips=2, link=named_link("die-to-die"))
        ),
    ],
    ids=["token", "run", "prefill", "chips"],
)
def test_images_are_whole(result):
    pytest.importorskip("matplotlib")
    from signacc.plots import estimate_plots

    images = estimate_plots("fbi-43m", result)
    assert list(images) == ["roofline.png", "breakdown.png"]
    for image in images.values():
        width, height = size(image)
        assert width > 900
        assert height > 600


def test_without_matplotlib_the_command_says_so(monkeypatch, tmp_path):
    from click.testing import CliRunner

    from signacc.cli import main

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(main, ["simulate", "--plot", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "plots need matplotlib" in result.output
    assert not (tmp_path / "out").exists()


def test_the_roof_of_memory_is_what_its_ports_let_through():
    pytest.importorskip("matplotlib")
    from signacc.plots import roofline

    def roof(system):
        (axes,) = roofline("x", estimate(named_model("fbi-43m"), system)).axes
        (label,) = [text for line in axes.lines if "modelled" in (text := str(line.get_label()))]
        return label

    four = MemoryPorts(count=4, bits=128, clock_mhz=150.0)
    assert roof(KV260) == "memory, modelled: 18.3 GB/s"
    assert roof(replace(KV260, memory_ports=four)) == "memory, modelled: 9.6 GB/s"
    wide = replace(KV260, memory_ports=replace(four, clock_mhz=333.0))
    assert roof(wide) == "memory, modelled: 18.3 GB/s"


@pytest.mark.parametrize(("model", "system"), [
    ("fbi-130m", "asic7"), ("fbi-7b", "kv260"), ("fbi-43m", "tiny8"), ("fbi-43m", "u280"),
])
def test_names_in_a_roofline_hide_no_other_and_are_not_cut_off(model, system):
    pytest.importorskip("matplotlib")
    from signacc.plots import roofline

    machine = replace(KV260, vector_lanes=8) if system == "tiny8" else named_system(system)
    figure = roofline(model, estimate(named_model(model), machine))
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    boxes = [text.get_window_extent(renderer).shrunk(0.98, 0.8) for text in axes.texts]
    assert len(boxes) > 8
    for index, box in enumerate(boxes):
        assert box.count_overlaps(boxes[index + 1:]) == 0, axes.texts[index].get_text()
        assert axes.bbox.ymin < box.ymin
        assert box.ymax < axes.bbox.ymax


NAMES = ["a $\\frac{", "数据 🙂", "_hidden", os.fsdecode(b"m\xff")]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name):
    """Neither a formula that does not parse, nor a letter that the font lacks, stops a plot."""
    pytest.importorskip("matplotlib")
    from signacc.plots import estimate_plots, pareto_plot, roofline

    result = estimate(named_model("fbi-43m"), replace(KV260, name=name))
    for image in estimate_plots(name, result).values():
        size(image)
    (axes,) = roofline(name, result).axes
    assert name.replace("$", r"\$").replace("\udcff", "?") in axes.get_title()
    record = {"design": {"model": name}, "metrics": {"watts": 1.0, "usd": 2.0}}
    report = {"objectives": ["watts", "usd"], "constraints": [], "space": name, "feasible": 1,
              "designs": 1}
    size(pareto_plot(report, [record], [record]))


def test_a_matplotlib_that_does_not_start(tmp_path):
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [Path(sys.executable).with_name("signacc"), "simulate", "--plot", tmp_path / "out"],
        env=os.environ | {"MPLBACKEND": "nonsense"}, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 2
    assert "plots need matplotlib, which does not start: " in done.stderr
    assert "Traceback" not in done.stderr
