"""Every command and every Python example of the README and docs runs as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from signacc.cli import main
from signacc.report import quantity

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def fenced(language: str) -> list[tuple[str, str]]:
    blocks = []
    for page in PAGES:
        for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL):
            blocks.append((page.name, block))
    return blocks


COMMANDS = [
    line.removeprefix("$ ")
    for _, block in fenced("console")
    for line in block.splitlines()
    if line.startswith("$ signacc ")
]


def test_there_is_something_to_run():
    assert len(COMMANDS) >= 6
    assert len(fenced("python")) >= 2


@pytest.mark.rtl
@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, tmp_path):
    program, *arguments = shlex.split(command)
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.rtl
def test_table_of_the_readme_is_what_cosim_measures():
    done = subprocess.run(
        [Path(sys.executable).with_name("signacc"), "cosim", "--json"],
        capture_output=True, text=True, check=True,
    )
    rows = [line.split() for line in PAGES[0].read_text().splitlines()]
    found = json.loads(done.stdout)
    beats = sum(layer["utilisation"] * layer["rtl_cycles"] for layer in found["layers"])
    assert [
        "all", f"{found['values_compared']:,}", f"{found['mismatches']:,}",
        f"{found['rtl_cycles']:,}", f"{found['simulated_cycles']:,}",
        f"{beats / found['rtl_cycles']:.1%}",
    ] in rows
    text = PAGES[0].read_text()
    speed, joules = (
        [quantity(value) for value in (of["nominal"], of["low"], of["high"])]
        for of in (
            {"nominal": found["estimate"]["tokens_per_second"],
             **found["estimate"]["tokens_per_second_range"]},
            found["estimate"]["energy_per_token_j"],
        )
    )
    assert (
        "  modelled: {} tokens/s ({} to {}), {} J/token ({} to {})\n"
    ).format(*speed, *joules) in text
    gpu = found["gpu"]
    assert (
        f"  measured: {quantity(gpu['tokens_per_second'])} tokens/s, "
        f"{quantity(gpu['joule_per_token'])} J/token on {gpu['name']}\n"
    ) in text
    for layer in found["layers"]:
        assert [
            layer["name"],
            "x".join(map(str, layer["shape"])),
            f"{layer['values_compared']:,}",
            f"{layer['mismatches']:,}",
            f"{layer['rtl_cycles']:,}",
            f"{layer['simulated_cycles']:,}",
            f"{layer['utilisation']:.1%}",
        ] in rows


@pytest.mark.parametrize(("page", "code"), fenced("python"))
def test_python_example(page, code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {done.stderr}"


def anchors(page):
    """Return the anchors of a Markdown page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        copies = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None
                     for other in found)  # fmt: skip
        found.add(f"{anchor}-{copies}" if copies else anchor)
    return found


LINKED = [
    *PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "design").glob("*.md")),
    *sorted((ROOT / "benchmarks" / "results").glob("*.md")),
]  # fmt: skip


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    """Files are there, and so are the headings that a link names."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        if ":" in name:
            continue  # somewhere else on the net
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}"


def options():
    """Yield command, parameter and its names, for every option of every command."""
    for name, command in main.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                yield name, parameter.name, (*parameter.opts, *parameter.secondary_opts)


@pytest.mark.parametrize(("command", "names"), [
    pytest.param(command, names, id=f"{command}-{parameter}")
    for command, parameter, names in options()
])  # fmt: skip
def test_an_option_is_on_a_page(command, names):
    text = "\n".join(page.read_text() for page in PAGES)
    assert f"signacc {command}" in text or f"`{command}" in text
    # Not as the beginning of a longer option.
    assert any(re.search(rf"(?<![\w-]){name}(?![\w-])", text) for name in names)
