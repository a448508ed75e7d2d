"""Bad input to ``signacc train`` is refused before anything is read or written."""

import pytest
from click.testing import CliRunner

from model.train_command import main


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stop-after", "0"], "stop-after must be at least 1 step, not 0"),
        (["--stop-after", "-3"], "stop-after must be at least 1 step, not -3"),
        (["--minutes", "0"], "minutes must be above 0, not 0"),
        (["--minutes", "nan"], "minutes must be above 0, not nan"),
    ],
)
def test_impossible_lengths_are_refused(tmp_path, options, message):
    result = CliRunner().invoke(main, [
        "--teacher", "t.gguf", "--data", "data", "--out", str(tmp_path / "run"),
        "--steps", "4", "--warmup", "1", *options,
    ])  # fmt: skip
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_run_folder_is_refused_and_kept(tmp_path):
    out = tmp_path / "run"
    out.write_text("mine")
    result = CliRunner().invoke(main, [
        "--teacher", "t.gguf", "--data", "data", "--out", str(out), "--steps", "4",
        "--warmup", "1",
    ])  # fmt: skip
    assert result.exit_code == 2
    assert f"the run folder must be a folder, not a file: {out}" in result.output
    assert out.read_text() == "mine"
