"""Every command and every Python example of the README and docs runs as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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
    for layer in json.loads(done.stdout)["layers"]:
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
