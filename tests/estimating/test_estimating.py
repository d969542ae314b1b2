"""What an audit will cost is said before it begins, and what the cache holds is not paid twice."""

import pytest

from expunge import pacing
from expunge.estimating import Work, _Trial, estimate
from expunge.methods.finetune import Finetune
from expunge.methods.lcodec import Lcodec
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.attribution import Attribution
from expunge.metrics.relearning import Relearning
from expunge.retraining import retrain
from expunge.seeding import seeded
from expunge.shadowing import shadow_of
from expunge.spreading import START, Processes
from expunge.unlearning import unlearn


@pytest.fixture
def work(parts, ours, task):
    def made(**change):
        with seeded(0):
            given = {"model": ours.build(), "split": parts, "task": task, "recipe": ours}
        return Work(**given | {"metrics": (Accuracy(),), "budget": 0.05} | change)

    return made


def by_name(found):
    return {item.what: item for item in found.items}


@pytest.mark.parametrize(("tier", "models"), [("smoke", 0), ("standard", 5), ("strict", 20)])
def test_a_tier_says_how_many_models_it_trains(tier, models, work):
    found = estimate(work(), tier)
    assert found.models == models
    assert ("references" in by_name(found)) == (models > 0)
    assert found.seconds > 0


def test_models_in_the_cache_are_not_paid_again(work, parts, ours, task, tmp_path):
    retrain(parts, ours, task=task, seeds=(0, 3), cache=tmp_path)
    found = by_name(estimate(work(cache=tmp_path)))["references"]
    assert (found.models, found.kept) == (5, 2)
    retrain(parts, ours, task=task, seeds=5, cache=tmp_path)
    assert by_name(estimate(work(cache=tmp_path)))["references"].seconds == 0


def test_an_estimate_writes_nothing(work, tmp_path):
    estimate(work(cache=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_more_references_cost_more_in_proportion(work, foreign, clock):
    del clock
    found = [
        by_name(estimate(work(recipe=foreign, seeds=seeds)))["references"].seconds
        for seeds in (5, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    ]
    assert found[0] == pytest.approx(5 * (0.5 + 0.002 * 210), rel=0.05)
    assert found[1] == pytest.approx(2 * found[0], rel=0.01)


def test_unlearning_is_timed_by_the_method_itself(work):
    found = by_name(estimate(work(method=Finetune(epochs=1))))
    assert found["unlearning by finetune"].seconds > 0


def test_without_a_recipe_nothing_is_trained(work):
    found = estimate(work(recipe=None))
    assert found.models == 0
    assert [*by_name(found)] == ["measurements"]


def test_metrics_that_train_for_long_are_tried_for_short(work):
    found = by_name(estimate(work(metrics=(Accuracy(), Attribution(), Relearning()))))
    assert found["measurements"].why == "3 metrics"
    assert found["measurements"].seconds > 0


def test_what_few_samples_do_not_bear_is_not_known_and_not_fatal(work):
    found = by_name(estimate(work(method=Lcodec(selection="full", l2=-1.0))))
    assert found["unlearning"].seconds is None
    assert "not known" in found["unlearning"].why
    assert found["references"].seconds > 0


@pytest.mark.parametrize(("tier", "shadows", "repeats"), [("standard", 16, 0), ("strict", 73, 32)])
def test_shadow_models_and_repeats_are_counted_where_samples_leave(tier, shadows, repeats, work):
    found = by_name(estimate(work(method=Finetune(epochs=1)), tier))
    assert found["shadow models"].models == shadows
    assert found["shadow models"].seconds > 0
    assert ("repeats" in found) == (repeats > 0)
    if repeats:
        assert found["repeats"].models == repeats


def test_shadow_models_in_the_cache_are_not_paid_again(work, parts, ours, task, tmp_path):
    model = work().model
    outcome = unlearn(model, parts, Finetune(epochs=1), task=task)
    shadow_of(outcome, ours, count=16, cache=tmp_path)
    found = by_name(estimate(work(method=Finetune(epochs=1), cache=tmp_path)))
    assert (found["shadow models"].models, found["shadow models"].kept) == (16, 16)


@pytest.mark.parametrize(
    ("count", "alone", "sent", "threads", "seconds"),
    [
        (16, 100.0, Finetune(), 2, 100 + START + 15 * 110 / 2),
        (16, 100.0, Finetune(), 1, 100 + START + 15 * 100 / 2),  # a worker is no slower
        (16, 0.01, Finetune(), 2, 16 * 0.01),  # workers would take longer to start
        (16, 100.0, lambda: None, 2, 16 * 100.0),  # another process could not import it
        (1, 100.0, Finetune(), 2, 100.0),
        (0, 100.0, Finetune(), 2, 0.0),
    ],
)
def test_the_first_of_much_work_is_done_here_and_the_rest_by_workers_where_that_pays(
    count, alone, sent, threads, seconds, work, monkeypatch
):
    monkeypatch.setattr(Processes.__init__, "__defaults__", (2,))
    with pacing.threads(threads):
        found = _Trial(work(), "standard")._spread(count, alone, lambda: 110.0, sent)
    assert found == pytest.approx(seconds)
