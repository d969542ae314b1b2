"""Options become a request, or a fault that says what to write."""

import pytest

from expunge.cli.requesting import request_of, target_of
from expunge.errors import BadSetting, CannotRead, MissingInput, RequestDoesNotFit
from expunge.request import Attribute, Classes, Samples


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ((["7,8"], None, None), Classes((7, 8))),
        ((["7"], None, None), Classes((7,))),
        ((["7", "8,9"], None, None), Classes((7, 8, 9))),
        ((None, ["3, 14"], None), Samples((3, 14))),
        ((None, ["-1"], []), Samples((-1,))),
        ((None, None, ["glasses"]), Attribute("glasses")),
        ((None, None, ["glasses", "glasses"]), Attribute("glasses")),
    ],
)
def test_one_option_names_a_target(options, target):
    assert target_of(*options) == target


def test_samples_are_read_from_a_file_with_comments(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("# asked on Monday\n3\n14 # the second\n\n15,16\n")
    assert target_of(None, [f"@{path}"], None) == Samples((3, 14, 15, 16))


@pytest.mark.parametrize(
    "options", [(None, None, [""]), (["1"], ["2"], None), (None, ["2"], ["age"])]
)
def test_exactly_one_target_is_named(options):
    with pytest.raises(MissingInput) as fault:
        target_of(*options)
    assert "--classes" in fault.value.hint


@pytest.mark.parametrize("text", ["x", "1,two", "1.5", "1-3"])
def test_what_is_no_number_is_named(text):
    with pytest.raises(RequestDoesNotFit, match="no whole number"):
        target_of(None, [text], None)


def test_an_empty_file_names_nothing(tmp_path):
    (tmp_path / "ids.txt").write_text("# nobody\n")
    with pytest.raises(RequestDoesNotFit, match="names nothing"):
        target_of(None, [f"@{tmp_path / 'ids.txt'}"], None)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CannotRead, match=r"ids\.txt"):
        target_of(None, [f"@{tmp_path / 'ids.txt'}"], None)


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b", "x" * 65])
def test_an_id_that_could_leave_the_runs_folder_is_refused(name):
    with pytest.raises(BadSetting, match="cannot be the id"):
        request_of(Classes((1,)), name=name)


def test_a_request_without_a_name_gets_one():
    assert len(request_of(Classes((1,))).id) == 12


@pytest.mark.parametrize("text", [{"name": "ada-1"}, {"reason": "for ADA"}])
def test_a_subject_is_named_nowhere_else(text):
    with pytest.raises(BadSetting, match="names the subject"):
        request_of(Classes((1,)), subject="Ada", **text)
