"""Benchmarks as a test imports them."""

import sys
from pathlib import Path

import pytest


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """Benchmarks are scripts beside each other, no package; their names are those of others too."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("EXPUNGE_CACHE", str(tmp_path))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
            del sys.modules[name]
