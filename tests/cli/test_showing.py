"""Tables on stdout; bars on stderr, and on a terminal only."""

import io
import sys

import pytest

from expunge.cli.showing import fault, progressing, table
from expunge.errors import CannotWrite
from expunge.progress import Progress, quiet


class Terminal(io.StringIO):
    """A terminal, as far as programs can tell."""

    def isatty(self):
        return True


def test_outside_a_terminal_progress_draws_nothing(capsys):
    with progressing() as progress:
        progress("retrain", 1, 5)
        assert progress is quiet
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_progress_is_drawn_on_stderr(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progressing() as progress:
        assert isinstance(progress, Progress)
        progress("retrain", 1, 5)
        progress("unlearn", 3, 0)
        progress("retrain", 5, 5)
    assert "retrain" in terminal.getvalue()
    assert "5/5" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_text_that_looks_like_markup_is_shown_as_it_is(capsys):
    table(["name", "value"], [["[bold]loss[/bold]", "0.5 [0.4, 0.6]"]], title="one [red]")
    shown = capsys.readouterr().out
    assert "[bold]loss[/bold]" in shown
    assert "0.5 [0.4, 0.6]" in shown


def test_a_fault_tells_what_was_kept(capsys):
    why = CannotWrite("the disk is full", hint="free some space.")
    why.add_note("The model is kept.")
    fault(why, as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "CannotWrite: the disk is full",
        "Hint: free some space.",
        "The model is kept.",
    ]


def test_a_fault_without_advice_is_one_line(capsys):
    fault(CannotWrite("the disk is full"), as_json=False)
    assert capsys.readouterr().err == "CannotWrite: the disk is full\n"


@pytest.mark.parametrize("rows", [[], [["a", ""]]])
def test_a_table_may_be_empty(capsys, rows):
    table(["name", "value"], rows)
    assert "name" in capsys.readouterr().out
