"""What every benchmark file says of how it was made."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from signacc.files import write_text


def cpu_name() -> str:
    """Return the processor's name, as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), "?")


def verilog_sha256(preset: str) -> str:
    """Return the digest of a preset's generated Verilog: which RTL a record was measured on."""
    from hw.config import named_preset
    from hw.verilog import generate

    return hashlib.sha256(generate(named_preset(preset)).text.encode()).hexdigest()


def write_record(
    path: Path, results: object, packages: tuple[str, ...], mark: str = "measured"
) -> None:
    """Write `results` with command, date, mark, machine and versions to a JSON file."""
    script = Path(sys.argv[0]).name
    record = {
        "command": shlex.join(["python", f"benchmarks/{script}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "mark": mark,
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {name: metadata.version(name) for name in packages},
        "results": results,
    }
    write_text(path, json.dumps(record, indent=1) + "\n")
