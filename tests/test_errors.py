"""Every error states a fact, and most a next action."""

import ast
import inspect

import pytest

from expunge import ExpungeError, errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, ExpungeError) and kind is not ExpungeError
]


def test_the_text_is_the_fact_and_then_the_hint():
    error = errors.MissingInput("no key", hint="make one.")
    assert (error.fact, error.hint) == ("no key", "make one.")
    assert str(error) == "no key\nHint: make one."


def test_without_advice_there_is_no_empty_hint():
    assert str(errors.MissingInput("no key")) == "no key"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_drawn_tree_shows_every_error_with_its_own_sentence(kind):
    drawn = " ".join(line.strip("├└─ ") for line in errors.__doc__.splitlines())
    sentence = inspect.getdoc(kind)
    assert f"{kind.__name__} " in drawn
    assert inspect.getsource(kind).count('"""') == 2
    assert sentence.endswith(".")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_one_clause_catches_them_all(kind):
    assert kind.__mro__[1] is ExpungeError


def test_an_unknown_name_suggests_the_nearest():
    error = errors.UnknownName("method", "finetnue", ["neggrad", "finetune", "retrain"])
    assert error.fact == "no method is named 'finetnue'"
    assert error.hint == "did you mean 'finetune'?"


def test_an_unknown_name_like_no_other_lists_them_in_order():
    assert errors.UnknownName("method", "zzz", ["b", "a"]).hint == "known: a, b."
    assert errors.UnknownName("method", "zzz", []).hint == "known: none."


def test_errors_import_nothing_heavy():
    tree = ast.parse(inspect.getsource(errors))
    roots = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert roots == {"collections.abc", "difflib"}
