"""What code imports is found as it is written; nothing is run, and nothing installed is entered."""

import sys

import torch

from expunge.importing import imported, own, text_of


def test_a_file_is_found_that_was_never_imported_and_is_not_imported_by_that(tmp_path, monkeypatch):
    (tmp_path / "strange_one.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert imported("import strange_one", "") == {"strange_one": "raise SystemExit\n"}
    assert "strange_one" not in sys.modules


def test_what_is_installed_and_what_is_not_there_is_left_out():
    text = "import os, torch, expunge.recipe, nowhere_at_all, torch.nowhere\nfrom .. import up"
    assert imported(text, "") == {}


def test_installed_packages_are_known_wherever_they_lie(tmp_path):
    assert not own(torch.__file__)
    assert not own("/home/who/.local/lib/python3.11/site-packages/tool/core.py")
    assert not own("/usr/lib/python3/dist-packages/tool.py")
    assert own(tmp_path / "tool.py")


def test_a_file_that_is_no_python_is_told_and_not_read_further(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_bytes(b"import torch\nif \xff\x00:")
    monkeypatch.syspath_prepend(tmp_path)
    assert imported("import broken_one", "") == {"broken_one": text_of(tmp_path / "broken_one.py")}


def test_a_folder_without_a_file_of_its_own_is_looked_into(tmp_path, monkeypatch):
    (tmp_path / "loose_one").mkdir()
    (tmp_path / "loose_one" / "part.py").write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert imported("from loose_one import part, gone", "") == {"loose_one.part": "RATE = 1\n"}
    assert imported("import loose_one.part.nothing", "") == {"loose_one.part": "RATE = 1\n"}


def test_more_imports_than_a_byte_can_number_are_all_found(tmp_path, monkeypatch):
    (tmp_path / "last_one.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    many = "\n".join(f"import nowhere_{i}" for i in range(300))
    assert [*imported(f"{many}\nimport last_one", "")] == ["last_one"]
