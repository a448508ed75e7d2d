"""Names that one module takes from another exist, also where only a GPU would ever import them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("golden", "hw", "model", "sim", "signacc")
BENCHMARKS = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
FILES = sorted(
    path for folder in (*PACKAGES, "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")
)


def module_file(name):
    """Return the file of one of our modules, or None if it is not there."""
    base = ROOT / "benchmarks" / name if name in BENCHMARKS else ROOT / name.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


def bound(target):
    """Return the names that an assignment's target binds."""
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def defined(body):
    """Return the names that statements bind, those under conditions and in `try` among them."""
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= set().union(*map(bound, node.targets))
        elif isinstance(node, ast.AnnAssign | ast.For):
            names |= bound(node.target)
        for part in ("body", "orelse", "finalbody", "handlers"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for inner in getattr(node, part, []):
                    names |= defined(inner.body if part == "handlers" else [inner])
    return names


def imports(path):
    """Return (line, module, name) of what a file takes from our modules, at any depth."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        above = package[: len(package) - node.level + 1] if node.level else ()
        module = ".".join((*above, *([node.module] if node.module else [])))
        if module.split(".")[0] in (*PACKAGES, "tests") or module in BENCHMARKS:
            found += [(node.lineno, module, alias.name) for alias in node.names]
    return found


def missing(path):
    """Return what a file takes from our modules and is not there."""
    problems = []
    for line, module, name in imports(path):
        file = module_file(module)
        where = f"{path.relative_to(ROOT)}:{line}"
        if module_file(f"{module}.{name}"):
            continue
        if file is None and not (ROOT / module.replace(".", "/")).is_dir():
            problems.append(f"{where}: no module {module}")
        elif file is None or name not in defined(ast.parse(file.read_text("utf-8")).body):
            problems.append(f"{where}: no {name} in {module}")
    return problems


def test_every_name_that_is_imported_exists():
    assert [problem for path in FILES for problem in missing(path)] == []


def test_the_whole_project_is_looked_at():
    taken = {
        (str(path.relative_to(ROOT)), module) for path in FILES for _, module, _ in imports(path)
    }
    assert ("benchmarks/gpu_step.py", "signacc.baseline.measure") in taken  # in a function
    assert ("benchmarks/gpu_gemm.py", "gpu_gemm_worker") in taken
    assert ("model/loss.py", "model.loss_kernel") in taken  # relative
    assert ("tests/model/test_files.py", "tests.model.replaced") in taken


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("from signacc.baseline.measure import gone", "no gone in signacc.baseline.measure"),
        ("from signacc.baseline.gone import a", "no module signacc.baseline.gone"),
        ("from .measure import gone", "no gone in signacc.baseline.measure"),
        ("from ..gone import a", "no module signacc.gone"),
        ("from signacc.baseline import gone", "no gone in signacc.baseline"),
        ("from gpu_worker import gone", "no gone in gpu_worker"),
    ],
)
def test_a_name_that_is_not_there_is_found(tmp_path, monkeypatch, line, told):
    work = tmp_path / "signacc" / "baseline" / "new.py"
    work.parent.mkdir(parents=True)
    work.write_text(f"def one():\n    {line}\n")
    for name in ("measure", "__init__"):
        (work.parent / f"{name}.py").write_bytes(
            (ROOT / "signacc" / "baseline" / f"{name}.py").read_bytes()
        )
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "gpu_worker.py").write_text("here = 1\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert missing(work) == [f"signacc/baseline/new.py:2: {told}"]
