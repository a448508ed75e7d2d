"""Plots: whole images, one for what there is to show, colours that follow the page."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from golden.config import named_model
from signacc.compare.palette import DARK, LIGHT
from sim.system import named_system

pytest.importorskip("matplotlib")
NAMES = ["bars", "roofline", "heat_map", "crossover"]


@pytest.fixture(scope="module")
def drawn(result):
    from signacc.compare.charts import svg_images

    return svg_images(result)


def test_png_images_are_whole(result):
    from signacc.compare.charts import png_images

    images = png_images(result)
    assert list(images) == NAMES
    for image in images.values():
        assert image[:8] == b"\x89PNG\r\n\x1a\n"
        assert image[-8:-4] == b"IEND"


def test_without_baselines_nothing_is_compared(result):
    from signacc.compare.charts import svg_images

    alone = replace(result, baselines=())
    assert list(svg_images(alone)) == ["bars", "roofline"]
    assert svg_images(replace(alone, ours=())) == {}


def colours_of(svg):
    """Return the fill of every name in a plot's legend, in order: a colour, or a hatch's id."""
    legend = svg[svg.index("legend_1"):]
    # A hatch's id is a digest of pattern and colours behind the plot's name.
    places = re.findall(r"fill: (?:var\(--|url\(#\w+-)(series-\d|h\w+)|>([^<>]+)</text>", legend)
    found, fill = {}, None
    for style, name in places:
        fill = style or fill
        if name:
            found[name] = fill
    return found


def test_a_machine_has_one_colour_in_all_plots_of_a_report(result):
    """The plot of prefill follows decoding's order of machines, not its own."""
    from signacc.compare.charts import svg_images

    decoding = replace(result, baselines=tuple(reversed(result.baselines)))
    prefill = replace(result, phase="prefill")
    assert prefill.machines != decoding.machines
    plots = svg_images(decoding, prefill)
    colours = {name: colours_of(plots[name][0]) for name in ("bars", "prefill")}
    assert colours["bars"] == colours["prefill"]
    assert list(colours["bars"]) != list(colours["prefill"])
    assert len(set(colours["bars"].values())) == len(colours["bars"]) == 4


def test_more_machines_than_colours_differ_by_hatch(result):
    from signacc.compare.charts import looks_of
    from signacc.compare.palette import SERIES

    absent = [system.name for system in result.systems][-1]
    assert absent == "tiny"
    assert list(looks_of([result])) == ["kv260", "gpu", "frugal", "silent", absent]
    entry = result.baselines[0]
    many = tuple(replace(entry, machine=f"gpu-{index}") for index in range(2 * len(SERIES)))
    looks = looks_of([replace(result, baselines=many)])
    assert len(set(looks.values())) == len(looks) == len(many) + len(result.systems)
    assert {looks[system.name][1] for system in result.systems} == {None}
    assert None not in {looks[entry.machine][1] for entry in many}


class Ids(HTMLParser):
    """Collects ids and references of an SVG."""

    def __init__(self):
        super().__init__()
        self.ids, self.references = [], []

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key == "id":
                self.ids.append(value)
            if key.endswith("href"):
                self.references.append(value.removeprefix("#"))
            self.references += re.findall(r"url\(#([^)]*)\)", value or "")


def test_svgs_stand_on_one_page(drawn):
    """No id twice over all of them, every reference inside, nothing loaded from elsewhere."""
    parser = Ids()
    for svg, _ in drawn.values():
        assert svg.startswith("<svg")
        assert "http" not in svg
        parser.feed(svg)
    assert len(parser.ids) == len(set(parser.ids))
    assert set(parser.references) <= set(parser.ids)


def test_colours_follow_the_theme(drawn):
    for svg, caption in drawn.values():
        assert not [value for value in LIGHT.values() if value in svg]
        assert set(re.findall(r"var\(--([\w-]+)\)", svg)) <= set(DARK)
        assert "var(--ink)" in svg
        assert caption


def test_a_missing_figure_is_no_bar(result, drawn):
    """Three speeds a point; the published baseline has no energy."""
    from matplotlib.figure import Figure

    from signacc.compare.charts import bars, looks_of

    figure = Figure()
    bars(result, figure, looks_of([result]))
    speed, energy = figure.axes
    assert len(speed.patches) == 6
    assert len(energy.patches) == 5


def test_points_of_a_batch_stand_side_by_side(own_file):
    """No interval on another, in a single batch and on both panels of the same width."""
    from matplotlib.figure import Figure

    from signacc.compare.charts import crossover, looks_of
    from signacc.compare.comparison import compare

    systems = [replace(named_system("kv260"), name=name) for name in ("one", "two", "three")]
    single = compare("fbi-43m", named_model("fbi-43m"), systems, batches=(1,), contexts=(128,),
                     phase="decode", files=[own_file])
    figure = Figure()
    crossover(single, figure, looks_of([single]))
    for axis in figure.axes:
        places = [container[0].get_xdata()[0] for container in axis.containers]
        assert len(set(places)) == 3
        low, high = axis.get_xlim()
        assert low < min(places) < 1 < max(places) < high
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def luminance(colour):
    """Return the relative luminance of WCAG 2."""
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(colours):
    """4.5 for text, 3 for marks: WCAG 2, success criteria 1.4.3 and 1.4.11."""
    ground = luminance(colours["surface"])
    for name, value in colours.items():
        if name not in ("surface", "grid"):
            bright, dark = sorted((ground, luminance(value)), reverse=True)
            least = 4.5 if name in ("ink", "muted") else 3
            assert (bright + 0.05) / (dark + 0.05) >= least, name
    assert len(set(colours.values())) == len(colours)
    assert LIGHT.keys() == DARK.keys()
