"""The poisoning study: what a patch taught the model is taken out, and all else stays."""

import os
import runpy
from pathlib import Path

import pytest

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "poisoning.py"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(cache):
    return EXAMPLE["run"](EXAMPLE["digits"](), cache, references=1, out=cache / "report.html")


def test_the_patch_works_on_unseen_pictures_until_it_is_unlearned(found):
    attack = found["patched unseen cars, called trucks"]
    assert attack["before"] > 0.9
    assert attack["after"] < 0.5
    assert attack["retrained"] < 0.5


def test_mislabelled_pictures_get_their_true_label_back(found):
    right = found["mislabelled cars, called cars"]
    assert right["before"] < 0.1
    assert right["after"] > 0.7
    seen = found["patched unseen cars, called cars"]
    assert seen["after"] > seen["before"] + 0.4


def test_nothing_else_is_lost(found):
    assert found["test accuracy"]["before"] > 0.95
    assert found["test accuracy"]["after"] > found["test accuracy"]["before"] - 0.03


def test_answers_rest_less_on_the_patch_than_before(found):
    mass = found["attribution mass in the patch"]
    assert mass["retrained"] < mass["after"] < mass["before"] - 0.05


def test_the_report_shows_where_the_answers_look_and_no_picture_of_a_sample(found, cache):
    html = (cache / "report.html").read_text(encoding="utf-8")
    assert found
    assert "Where the answers look" in html
    assert "data:image" not in html


def test_the_poison_is_where_it_should_be_and_the_clean_pictures_are_untouched():
    study = EXAMPLE["digits"]()
    before = study.clean.train.pictures.clone()
    problem, cars = study.poisoned()
    clean, train = study.clean.train, problem.train
    assert before.equal(clean.pictures)
    assert (clean.labels[cars] == 1).all()
    assert (train.labels[cars] == 9).all()
    changed = (clean.pictures != train.pictures).flatten(1).any(1)
    assert changed.sum() == 2 * study.count
    assert set(clean.labels[changed].tolist()) == {1, 9}
    assert (train.pictures[changed][:, :, 0:2, 6:8] == 255).all()
    rest = clean.pictures != train.pictures
    rest[:, :, 0:2, 6:8] = False
    assert not rest.any()
    assert (clean.labels != train.labels).sum() == study.count


def test_a_second_run_trains_nothing_again(found, cache):
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("*.safetensors")}
    assert len(kept) == 1
    again = EXAMPLE["run"](EXAMPLE["digits"](), cache)
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*.safetensors")} == kept
    name = "mislabelled cars, called cars"
    assert again[name] == {key: found[name][key] for key in ("before", "after")}


@pytest.mark.slow
@pytest.mark.skipif("EXPUNGE_DATA" not in os.environ, reason="needs CIFAR-10")
def test_photographs_are_cured_too(cache):
    found = EXAMPLE["run"](EXAMPLE["photographs"](None), cache)
    attack, right = (found[f"patched unseen cars, called {word}"] for word in ("trucks", "cars"))
    assert attack["before"] > 0.5
    assert attack["after"] < attack["before"] / 2
    assert right["after"] > right["before"]
    accuracy = found["test accuracy"]
    assert accuracy["after"] > accuracy["before"] - 0.05
