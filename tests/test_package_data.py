"""Files that are no Python are in the wheel only if pyproject.toml names them."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


@pytest.mark.parametrize("package", ["golden", "hw", "model", "sim", "signacc"])
def test_every_file_of_a_package_is_named(package):
    patterns = DATA["package-data"].get(package, [])
    named = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = {
        path for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and not path.name.startswith(".")
    }
    assert sorted(str(path.relative_to(ROOT)) for path in files - named) == []
