import errno

import click
import pytest

from signacc import console


def test_text_is_printed_as_it_is(capsys, monkeypatch):
    monkeypatch.setattr(console.out, "width", 30)
    console.out.print("[red]a[/red] :smile:")
    console.say("[red]a[/red] :smile: " * 3)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "[red]a[/red] :smile:"
    assert all(line.startswith("  ") and len(line) <= 30 for line in lines[1:])
    assert " ".join(" ".join(lines[1:]).split()) == " ".join(["[red]a[/red] :smile:"] * 3)


class TestDeliver:
    """Results are printed and written, each even if the other fails."""

    def test_prints_then_writes(self, tmp_path, capsys):
        path = tmp_path / "a.txt"

        def files():
            assert capsys.readouterr().out == "table\n"
            return {path: [b"a", b"b"]}

        console.deliver(lambda: click.echo("table"), files)
        assert path.read_text() == "ab"
        assert capsys.readouterr().out == f"  wrote {path}\n"

    def test_json_is_all_that_is_printed(self, tmp_path, capsys):
        console.deliver(lambda: click.echo("{}"), lambda: {tmp_path / "a": [b"a"]}, as_json=True)
        assert capsys.readouterr() == ("{}\n", "")

    @pytest.mark.parametrize(
        "error", [OSError(errno.ENOSPC, "full"), BrokenPipeError(), SystemExit(1)]
    )
    def test_files_are_written_though_printing_fails(self, tmp_path, capsys, error):
        def show():
            raise error

        with pytest.raises(type(error)) as raised:
            console.deliver(show, lambda: {tmp_path / "a": [b"a"]}, as_json=True)
        assert raised.value is error
        assert (tmp_path / "a").read_text() == "a"
        assert capsys.readouterr() == ("", f"  wrote {tmp_path / 'a'}\n")

    def test_what_an_earlier_run_left_is_removed(self, tmp_path):
        """Files of the kinds named alone, those not made now; none if writing fails."""
        kinds = [tmp_path / name for name in ("a", "b", "c")]
        for path in (*kinds[:2], tmp_path / "mine"):
            path.write_text("old")
        with pytest.raises(OSError, match="must not be a folder"):
            console.deliver(lambda: None, lambda: {tmp_path: [b"a"]}, kinds=kinds)
        assert kinds[1].read_text() == "old"
        console.deliver(lambda: None, lambda: {kinds[0]: [b"new"]}, kinds=kinds)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
            "a": "new", "mine": "old"
        }

    def test_figures_are_printed_though_writing_fails(self, tmp_path, capsys):
        with pytest.raises(OSError, match="must not be a folder"):
            console.deliver(lambda: click.echo("table"), lambda: {tmp_path: [b"a"]})
        assert capsys.readouterr().out == "table\n"
