"""pyproject.toml names the files of the wheel that are no Python, and the extras of all texts."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA = PROJECT["tool"]["setuptools"]


@pytest.mark.parametrize("package", ["golden", "hw", "model", "sim", "signacc"])
def test_every_file_of_a_package_is_named(package):
    patterns = DATA["package-data"].get(package, [])
    named = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = {
        path for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and not path.name.startswith(".")
    }
    assert sorted(str(path.relative_to(ROOT)) for path in files - named) == []


def test_extras_that_texts_and_messages_name_exist():
    texts = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
    for package in ("golden", "hw", "model", "sim", "signacc"):
        texts += (ROOT / package).rglob("*.py")
    named = {
        extra
        for path in texts
        for extra in re.findall(r"signacc\[([^\]]+)\]", path.read_text(encoding="utf-8"))
    }
    assert {"fpga", "explore"} <= named <= PROJECT["project"]["optional-dependencies"].keys()
