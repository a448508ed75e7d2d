"""Where builds are kept."""

from pathlib import Path

from golden.cache import cache_root


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("SIGNACC_CACHE", "/some/where")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_root() == Path("/some/where")
    monkeypatch.setenv("SIGNACC_CACHE", "")
    assert cache_root() == Path("/caches/signacc")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "signacc"
