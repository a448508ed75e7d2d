"""``signacc import`` and ``signacc export --format gguf`` from the command line."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from golden.folder import load_packed
from signacc.cli import main

from ..model.published_files import state, write_checkpoint
from ..packed_folder import CONFIG, write_packed_folder


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr


class TestImport:
    def test_a_checkpoint(self, tmp_path):
        checkpoint = write_checkpoint(tmp_path / "c", state(), shards=2)
        result = invoke("import", checkpoint, "-o", tmp_path / "m")
        assert result.exit_code == 0, result.output
        assert "49 tensors from 2 file(s), 2 rotary buffers dropped, 0 latent" in result.stdout
        assert "no tokenizer.json was there" in result.stdout
        assert load_packed(tmp_path / "m").config.hidden_size == 24

    def test_json(self, tmp_path):
        checkpoint = write_checkpoint(tmp_path / "c", state())
        result = invoke("import", checkpoint, "-o", tmp_path / "m", "--json")
        report = json.loads(result.stdout)
        assert (report["tensors"], report["latent_zeros"]) == (49, 0)
        assert report["config"]["vocab_size"] == 40

    def test_bad_input(self, tmp_path):
        checkpoint = write_checkpoint(tmp_path / "c", state())
        shard = checkpoint / "pytorch_model.bin"
        shard.write_bytes(shard.read_bytes()[:5000])
        output = tmp_path / "m"
        refused(invoke("import", checkpoint, "-o", output), "must be a complete file of torch.save")
        refused(invoke("import", tmp_path / "none", "-o", output), "a checkpoint is a folder")
        refused(invoke("import", checkpoint, "-o", checkpoint), "a packed model to replace")
        assert not output.exists()

    def test_a_full_disk_leaves_the_old_model(self, tmp_path):
        """Files may not grow beyond 4 kB, in a process of its own."""
        checkpoint = write_checkpoint(tmp_path / "c", state())
        folder = write_packed_folder(tmp_path / "m", CONFIG | {"format": "signacc-packed"})
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        done = subprocess.run(
            [Path(sys.executable).with_name("signacc"), "import", checkpoint, "-o", folder],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000)),
        )
        assert done.returncode == 2, done.stderr
        assert "cannot be written" in done.stderr
        assert "Traceback" not in done.stderr
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
        assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "m"]


class TestGguf:
    @pytest.fixture(autouse=True)
    def _package(self):
        pytest.importorskip("gguf")

    def test_there_and_back(self, tmp_path):
        file = tmp_path / "m.gguf"
        result = invoke("export", "--format", "gguf", "-o", file, "--json")
        assert json.loads(result.stdout) == {"output": str(file), "bytes": file.stat().st_size}
        result = invoke("import", file, "-o", tmp_path / "m")
        assert "12 layers, hidden 512, 38,535,168 binary weights" in result.stdout
        text = invoke("generate", "--prompt", "Water is", "--write", 3, "--json")
        again = invoke("generate", "--model", tmp_path / "m", "--prompt", "Water is", "--write", 3,
                       "--json")
        assert again.stdout == text.stdout

    def test_bad_input(self, tmp_path):
        file = tmp_path / "m.gguf"
        file.write_bytes(b"GGUF")
        refused(invoke("import", file, "-o", tmp_path / "m"), "must be a complete GGUF file")
        refused(invoke("import", file, "-o", tmp_path / "m", "--tokenizer", "t"), "its own token")
        refused(invoke("export", "--format", "gguf", "-o", tmp_path / "m.bin"), "end in .gguf")
        refused(invoke("export", "--format", "gguf", "--preset", "tiny", "-o", file),
                "leave --preset and --config out")
        refused(invoke("export", "--format", "gguf", "-o", tmp_path / "no" / "m.gguf"),
                "the GGUF file's folder must exist")
        assert file.read_bytes() == b"GGUF"

    def test_a_full_disk_is_of_the_file(self, tmp_path, monkeypatch):
        def full(folder, path):
            raise OSError("8 requested and 3 written")  # as numpy says it

        monkeypatch.setattr("model.gguf_file.export_gguf", full)
        file = tmp_path / "m.gguf"
        result = invoke("export", "--format", "gguf", "-o", file)
        refused(result, f"Error: 8 requested and 3 written: {file}")
