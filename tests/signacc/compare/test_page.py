"""The page: parses, loads nothing, marks every figure, escapes texts; and it renders."""

import re
import shutil
import struct
import subprocess
from dataclasses import replace
from html import escape, unescape
from html.parser import HTMLParser
from importlib.util import find_spec

import pytest

from golden.config import named_model
from signacc.compare.comparison import compare
from signacc.compare.figures import MARKS, METRICS
from signacc.compare.page import html_page
from signacc.compare.sensitivity import sensitivity
from sim.system import named_system

from .conftest import MODEL, baseline, write

VOID = {"meta", "br", "link", "img", "input", "hr"}
EVIL = '<img src=x onerror="alert(1)"> & $x_1$'


class Page(HTMLParser):
    """Checks that elements close in order; collects attributes and figure cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.cells, self.heads = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attributes]
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))
        if tag == "td" and dict(attributes).get("class") == "figure":
            self.cells.append({"text": "", "mark": None})

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attributes]

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        inside = [tag for tag, _ in self.open]
        if any(t == "td" and a.get("class") == "figure" for t, a in self.open):
            key = "mark" if inside[-1] == "abbr" else "text"
            self.cells[-1][key] = (self.cells[-1][key] or "") + data


@pytest.fixture(scope="module")
def text(result, prefill):
    return html_page(result, {}, sensitivity(result), prefill)


def test_it_is_well_formed_and_has_every_section(text):
    page = Page(text)
    assert page.open == []
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    links = [value[1:] for tag, key, value in page.attributes if (tag, key) == ("a", "href")]
    assert links == ids
    assert ("html", "lang", "en") in page.attributes


def test_nothing_is_loaded(text):
    page = Page(text)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    for tag, key, value in page.attributes:
        assert key not in ("src", "srcset", "action"), (tag, value)
        assert not key.startswith("on"), (tag, value)
        if key.endswith("href"):
            assert value.startswith("#")
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert "@import" not in style
    assert "url(" not in style
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'; "
            "script-src 'unsafe-inline'") in page.attributes  # fmt: skip


def test_every_figure_has_a_mark(text, result):
    page = Page(text)
    assert len(page.cells) > 5 * len(result.entries)
    for cell in page.cells:
        assert any(character.isdigit() for character in cell["text"]), cell
        assert cell["mark"] in MARKS
    # no figure of a table is of a source not read; a price, which is in no table, may be
    assert {cell["mark"] for cell in page.cells} == set(MARKS) - {"unverified"}


def test_cells_without_a_figure_say_why(text, result, prefill):
    reasons = re.findall(r'<td class="none[^>]*>(?:<div[^>]*>)?([^<]+)<', text)
    expected = [
        entry.reason(name) for comparison in (result, prefill) for entry in comparison.entries
        for name in METRICS[comparison.phase] if entry.reason(name)
    ]
    expected += [absent.reason for comparison in (result, prefill) for absent in comparison.absent]
    others = [*result.others, *prefill.others]
    expected += ["not stated"] * sum(
        (other.context is None) + (other.joule_per_token is None) for other in others
    )
    assert sorted(map(unescape, reasons)) == sorted(expected)
    assert "<td>–</td>" not in text


def test_prefill_has_a_section(text, prefill):
    section = text.split('<section id="prefill">')[1].split("</section>")[0]
    assert "time to first token, s" in section
    assert section.count("<tr>") == (
        2 + len(prefill.entries) + len(prefill.absent) + len(prefill.verdicts)
    )


def test_texts_of_files_are_escaped(tmp_path):
    path = write(tmp_path / "own.json", [
        baseline(name=EVIL, source=EVIL, notes=EVIL),
        baseline(name=EVIL, model=EVIL, source=EVIL, mark="published"),
    ])  # fmt: skip


    result = compare(MODEL, named_model(MODEL), [named_system("kv260")], batches=[1],
                     contexts=[128, 512], files=[path])  # fmt: skip
    plots = {}
    if find_spec("matplotlib") is not None:
        from signacc.compare.charts import svg_images

        plots = svg_images(result)
    text = html_page(result, plots, sensitivity(result))
    assert "<img" not in text
    assert "&lt;img src=x" in text
    page = Page(text)
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]




def test_a_reason_has_a_width_of_its_own(result):
    """It spans all figures, which are wider than the screen; its text must not be."""
    reasons = [entry.reason for entry in result.absent]
    text = html_page(result, {}, [])
    assert reasons
    for reason in reasons:
        assert f'<div class="reason">{escape(reason)}</div></td>' in text
    style = text.split("<style>")[1].split("</style>")[0]
    assert re.search(r"^\.reason \{ max-width: min\(46rem, 50vw\);", style, re.M)


def test_a_change_of_winner_names_both(result):
    assert [(c.aspect, c.before) for c in result.crossovers()] == [("energy", "baseline")]
    assert "baseline at batch 1, ours at batch 4 " in html_page(result, {}, [])


def test_an_empty_comparison_says_so(result):
    text = html_page(replace(result, ours=(), baselines=(), absent=(), others=()), {}, [])
    assert "No baseline of fbi-43m at these points" in text
    assert "Nothing is absent" in text
    assert Page(text).open == []


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser",
                                                "google-chrome"))), None)  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_chromium_shows_it_in_light_and_dark(tmp_path, text, dark):
    """A corner of the page has the colour of the theme; sorting ran (heads can be pressed)."""
    page, shot = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(text, encoding="utf-8")
    common = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
              f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,900",
              f"--blink-settings=preferredColorScheme={0 if dark else 1}"]  # fmt: skip
    done = subprocess.run(
        [*common, f"--screenshot={shot}", page.as_uri()], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    image = shot.read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", image[16:24])
    assert (width, height) == (1200, 900)
    pillow = pytest.importorskip("PIL.Image")
    with pillow.open(shot) as picture:
        corner = picture.convert("RGB").getpixel((2, 2))
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert (max(corner) < 64) if dark else (min(corner) > 192)
    assert len(colours) > 50  # text is there, anti-aliased, in several colours
    if not dark:
        dom = subprocess.run([*common, "--dump-dom", page.as_uri()], capture_output=True,
                             timeout=120, text=True)  # fmt: skip
        heads = text.count('<th scope="col"')
        assert dom.stdout.count('<span tabindex="0" role="button">') == heads


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_a_key_sorts_a_table(tmp_path, text):
    """Enter on a head sorts by that column, keeps the focus, and tells readers so."""
    press = """<script>
    const head = document.querySelectorAll("table")[1].tHead.rows[0].cells[3].firstChild;
    head.focus();
    head.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", cancelable: true}));
    document.title = [document.activeElement === head, head.parentNode.ariaSort].join();
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", press), encoding="utf-8")
    dom = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, timeout=120, text=True,
    )  # fmt: skip
    assert "<title>true,ascending</title>" in dom.stdout
    figures = dom.stdout.split('aria-label="All figures: decode"')[1].split("</table>")[0]
    speeds = [
        float(row.split('data-value="')[3].split('"')[0])
        for row in figures.split("<tbody>")[1].split("<tr>")[1:]
        if 'class="none" colspan' not in row
    ]
    assert len(speeds) > 3
    assert speeds == sorted(speeds) != sorted(speeds, reverse=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext on PATH")
def test_heads_stand_on_every_printed_page_of_a_table(tmp_path):
    batches = list(range(1, 81))
    result = compare(MODEL, named_model(MODEL), [named_system("kv260")], batches=batches,
                     contexts=[128])  # fmt: skip
    page, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(html_page(result, {}, []), encoding="utf-8")
    subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
         f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={printed}", page.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    text = subprocess.run(["pdftotext", "-layout", printed, "-"], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    with_rows = [sheet for sheet in text.split("\f") if "modelled" in sheet and "rtl" in sheet]
    assert len(with_rows) > 2
    assert all("FBI-linear cycles" in sheet for sheet in with_rows[:3])
