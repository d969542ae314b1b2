"""The shell as a whole: help, version, exit codes, and how quickly it answers."""

import os
import subprocess
import sys

import pytest
from typer.main import get_command

from expunge.cli.app import app

COMMANDS = sorted(get_command(app).commands)


def test_these_are_the_commands():
    evidence, parts = ["audit", "ledger", "report"], ["attacks", "methods", "metrics"]
    others = ["compare", "demo", "doctor", "init", "purge", "run", "selftest"]
    assert sorted([*evidence, *parts, *others]) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(expunge, command):
    ended = expunge(command, "--help")
    assert ended.code == 0
    assert "Usage:" in ended.out
    first = ended.out.split("Usage:")[1].split("\n\n")
    assert len("".join(first)) > 40


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"ledger"}))
def test_every_command_takes_json(expunge, command):
    assert "--json" in expunge(command, "--help").out


@pytest.mark.parametrize("command", ["show", "verify"])
def test_every_command_of_the_ledger_takes_json(expunge, command):
    assert "--json" in expunge("ledger", command, "--help").out


def test_version_is_printed(expunge):
    ended = expunge("--version")
    assert (ended.code, ended.out.split()[0]) == (0, "expunge")


def test_without_a_command_help_is_shown(expunge):
    ended = expunge()
    assert "Usage:" in ended.out + ended.err


def test_an_unknown_command_is_a_usage_error(expunge):
    assert expunge("forget").code == 2


def test_an_unknown_option_is_a_usage_error_and_leaves_stdout_to_json(expunge):
    ended = expunge("methods", "--json", "--colour")
    assert (ended.code, ended.out) == (2, "")


@pytest.mark.parametrize("folder", ["methods", "metrics", "attacks"])
def test_plug_ins_are_listed_with_their_sentence_and_settings(expunge, folder):
    listed = expunge(folder, "--json").body
    assert listed
    assert all(entry["summary"] and isinstance(entry["settings"], dict) for entry in listed)
    shown = expunge(folder)
    assert shown.code == 0
    assert all(entry["name"][:8] in shown.out for entry in listed)


def test_methods_say_what_they_handle(expunge):
    finetune = next(e for e in expunge("methods", "--json").body if e["name"] == "finetune")
    assert finetune["handles"] == ["Samples", "Classes"]


def test_a_foreseen_fault_is_a_fact_and_a_hint(expunge, tmp_path):
    ended = expunge("run", "--method", "finetune", "--config", tmp_path / "expunge.toml")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("MissingInput: what must be forgotten?")
    assert "\nHint: " in ended.err
    assert "Traceback" not in ended.err


def test_a_foreseen_fault_is_an_object_with_json(expunge, tmp_path):
    arguments = ("run", "--method", "finetune", "--classes", "1", "--json")
    ended = expunge(*arguments, "--config", tmp_path / "expunge.toml")
    assert ended.code == 2
    assert ended.body["error"] == "CannotRead"
    assert "does not exist" in ended.body["fact"]
    assert "expunge init" in ended.body["hint"]
    assert ended.err == ""


def test_help_never_imports_torch():
    script = (
        "import sys\n"
        "from expunge.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'altair', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_help_takes_less_than_half_a_second():
    def spent():
        """Seconds of processor time: those of the wall depend on what else the machine does."""
        before = os.times()
        command = [sys.executable, "-m", "expunge", "--help"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        user = after.children_user - before.children_user
        return user + after.children_system - before.children_system

    assert min(spent() for _ in range(3)) < 0.5
