"""Plots of estimates: drawn, whole PNG files, and nothing written when matplotlib is missing."""

import struct
import sys
from dataclasses import replace

import pytest

from golden.config import named_model
from sim.system import estimate, named_link, named_system, simulate

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
