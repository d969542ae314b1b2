"""Texts become fields by their types, or a fault that names the type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from expunge.cli.settings import build, parsed, spoken, told, value_of
from expunge.errors import BadSetting, MissingInput, UnknownName
from expunge.recipe import Recipe


@dataclass(frozen=True)
class Toy:
    """A plug-in with a setting of every kind."""

    epochs: int = 1
    lr: float = 0.1
    bounded: bool = False
    kind: Literal["a", "b"] = "a"
    history: Path | None = None
    layers: tuple[str, ...] = ()
    sizes: Sequence[int] = field(default_factory=list)


@dataclass(frozen=True)
class Needy:
    """A plug-in that cannot do without."""

    recipe: Recipe


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("10", int, 10),
        ("-3", int, -3),
        ("1e-3", float, 1e-3),
        ("2", float, 2.0),
        ("inf", float, float("inf")),
        ("true", bool, True),
        ("No", bool, False),
        ("loss", str, "loss"),
        ("b", Literal["a", "b"], "b"),
        ("2", Literal[1, 2], 2),
        ("runs/x", Path, Path("runs/x")),
        ("none", int | None, None),
        ("4", int | None, 4),
        ("0.5", int | float, 0.5),
        ("a,b", tuple[str, ...], ("a", "b")),
        ("1, 2", tuple[int, int], (1, 2)),
        ("(0.1,0.2)", tuple[float, ...], (0.1, 0.2)),
        ("1,2", list[int], [1, 2]),
        ("1,2", Sequence[int], (1, 2)),
        ("", tuple[int, ...], ()),
        ("math:floor", Callable[[float], int], __import__("math").floor),
    ],
)
def test_a_text_becomes_a_value_of_the_fields_type(text, kind, value):
    found = value_of("x", text, kind)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("ten", int, "a whole number"),
        ("1.5", int, "a whole number"),
        ("fast", float, "a number"),
        ("nan", float, "a number"),
        ("maybe", bool, "true or false"),
        ("c", Literal["a", "b"], "one of a, b"),
        ("x", int | None, "a whole number or none"),
        ("1,b", tuple[int, ...], "a list of whole numbers"),
        ("1,2,3", tuple[int, int], "a list of whole numbers"),
        ("floor", Callable[[float], int], "by its address"),
        ("math:pi", Recipe, "a Recipe, by its address"),
        ("math", tuple[Recipe, ...], "a list with commas between, each a Recipe, by its address"),
        ("c", tuple[Literal["a", "b"], ...], "a list with commas between, each one of a, b"),
    ],
)
def test_a_text_of_another_type_is_refused_with_the_type_and_an_example(text, kind, word):
    with pytest.raises(BadSetting) as fault:
        value_of("x", text, kind)
    assert word in fault.value.fact
    assert repr(text) in fault.value.fact
    assert "--set x=" in fault.value.hint


def test_the_examples_can_be_read_themselves():
    for kind in (int, float, bool, str, Path, Literal["a", "b"], int | None, tuple[int, int]):
        value_of("x", spoken(kind)[1], kind)


def test_settings_become_fields():
    toy = build(Toy, parsed(["epochs=3", "history=none", "layers=a,b", "lr=1"]), {})
    assert toy == Toy(epochs=3, lr=1.0, history=None, layers=("a", "b"))


def test_an_unknown_setting_is_refused_with_the_nearest():
    with pytest.raises(UnknownName) as fault:
        build(Toy, {"epoch": "3"}, {})
    assert "setting of Toy" in fault.value.fact
    assert fault.value.hint == "did you mean 'epochs'?"


@pytest.mark.parametrize("assignment", ["epochs", "=3", ""])
def test_an_assignment_needs_a_name_and_a_value(assignment):
    with pytest.raises(BadSetting, match="KEY=VALUE"):
        parsed([assignment])


def test_a_setting_is_set_once():
    with pytest.raises(BadSetting, match="twice"):
        parsed(["a=1", "a=2"])


def test_a_value_may_hold_an_equals_sign():
    assert parsed(["expression=a=b"]) == {"expression": "a=b"}


def test_a_required_field_takes_what_is_given_of_its_type():
    recipe = Recipe(lambda: None, lambda model, _: model)  # type: ignore[arg-type]
    assert build(Needy, {}, {Recipe: recipe}).recipe is recipe


def test_a_recipe_that_nobody_gave_is_asked_for():
    with pytest.raises(MissingInput) as fault:
        build(Needy, {}, {})
    assert "fit = " in fault.value.hint


def test_defaults_are_told_as_json():
    assert [told(x) for x in (..., None, 0.5, float("inf"), (1, "a"), Path("x"), int)] == [
        "required",
        None,
        0.5,
        "inf",
        [1, "a"],
        "x",
        "int",
    ]
