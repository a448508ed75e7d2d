from signacc import console


def test_text_is_printed_as_it_is(capsys, monkeypatch):
    monkeypatch.setattr(console.out, "width", 30)
    console.out.print("[red]a[/red] :smile:")
    console.say("[red]a[/red] :smile: " * 3)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "[red]a[/red] :smile:"
    assert all(line.startswith("  ") and len(line) <= 30 for line in lines[1:])
    assert " ".join(" ".join(lines[1:]).split()) == " ".join(["[red]a[/red] :smile:"] * 3)
