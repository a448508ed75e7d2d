"""The import rules of the packages, and that what must start fast loads nothing heavy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("golden", "hw", "model", "sim", "signacc")
LIGHT = (
    "sim.system, sim.serving, sim.engine, hw.config, hw.streams, golden.pack, golden.linear, "
    "golden.bf16, golden.compose, golden.folder, model.train_command, model.data_command"
)


def lint(folder: Path) -> subprocess.CompletedProcess:
    """Check the packages in `folder` against the contracts of its pyproject.toml or .importlinter.

    Exit code 1 means a broken contract, and that the contracts were read at all.
    """
    code = "from importlinter.cli import lint_imports_command as main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )


def test_the_rules_hold():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout
    assert " 0 kept" not in result.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the packages and their contracts."""
    folder = tmp_path_factory.mktemp("copy")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".importlinter"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder)
    return folder


def test_each_rule_can_break(copy):
    """One import against each rule: every contract is told to be broken."""
    additions = {
        "golden/errors.py": "import hw.config",
        "golden/pack.py": "import torch",
        "golden/reference.py": "from .fp16 import decode",
        "hw/layouts.py": "import golden.reference",
        "hw/config.py": "import numpy",
        "hw/streams.py": "from . import layouts",
        "hw/axi/formats.py": "import numpy",
        "sim/interval.py": "from golden import model",  # torch by way of golden
        "model/loss.py": "from sim import system",
    }
    kept = {path: (copy / path).read_text() for path in additions}
    try:
        for path, line in additions.items():
            (copy / path).write_text(f"{kept[path]}\n\n{line}\n")
        result = lint(copy)
    finally:
        for path, text in kept.items():
            (copy / path).write_text(text)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Contracts: 0 kept, 9 broken." in result.stdout
    assert lint(copy).returncode == 0


def test_light_modules_load_neither_torch_nor_amaranth():
    code = f"import {LIGHT}, sys; print(sorted({{'torch', 'amaranth'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_packing_and_the_linear_work_without_torch_installed():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from golden.linear import fbi_linear; from golden.pack import pack_signs\n"
        "x = np.ones((1, 2), np.float16)\n"
        "print(fbi_linear(x, pack_signs(np.ones((1, 2))), x[0], x[0]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[[4.]]\n", "")
