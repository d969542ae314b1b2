"""A rehearsal catches who forgets nothing, passes who retrains, and shows no unseen canary."""

import logging
from dataclasses import replace

import pytest
import torch

from expunge import Regression
from expunge.algebra.randomisation import fresh_coins
from expunge.batching import data_digest
from expunge.errors import BadSetting, TargetMismatch
from expunge.methods.finetune import Finetune
from expunge.methods.leace import Leace
from expunge.methods.retrain import Retrain
from expunge.planting import MISLABELLED, NATURAL, Canaries, mislabelled
from expunge.rehearsal import Pledge
from expunge.rehearsing import FEWEST, rehearse
from expunge.shelving import purge


@pytest.fixture(scope="module")
def caught(recipe, data, idle, task):
    return rehearse(recipe, data, idle, task=task, canaries=60)


@pytest.fixture(scope="module")
def passed(recipe, data, task):
    return rehearse(recipe, data, Retrain(recipe), task=task, canaries=60)


def test_who_forgets_nothing_is_caught(caught):
    assert caught.p < 0.001
    assert caught.made == 20
    assert caught.right("phi") >= 15
    assert caught.epsilon() > caught.unlearning_epsilon() > 0
    accused, bound, alone = caught.measurements()
    assert accused.comparison.p == accused.value == caught.p
    assert accused.control.p < 0.001
    assert bound.value == pytest.approx(2 * alone.value, abs=1e-6)


def test_who_retrains_passes_though_the_original_would_not(passed):
    assert passed.p > 0.01
    accused = passed.measurements()[0]
    assert accused.control.p < 0.001
    assert accused.comparison.difference.low < 0 < accused.comparison.difference.high


def test_both_arms_are_told_and_the_mislabelled_leak_more(caught):
    columns = caught.measurements()[0].exhibit.columns
    assert columns["arm"] == [NATURAL, MISLABELLED]
    assert columns["canaries"] == [30, 30]
    natural, wrong = columns["AUC"]
    assert wrong > 0.95 > natural


def test_a_method_never_sees_a_canary_whose_coin_kept_it_out(recipe, data, watching, task):
    method, seen = watching
    found = rehearse(recipe, data, method, task=task, canaries=20)
    rows = {tuple(row.tolist()) for x, _ in seen for row in x}
    inside = sum(coin == "1" for coin in found.pledge.coins)
    assert len(rows) == 121 + inside
    assert 0 < inside < 20


def test_the_same_seed_gives_the_same_rehearsal_and_another_seed_other_coins(
    recipe, data, idle, task, caught
):
    again = rehearse(recipe, data, idle, task=task, canaries=60)
    assert again.pledge == caught.pledge
    assert torch.equal(again.scores["phi"], caught.scores["phi"])
    other = rehearse(recipe, data, idle, task=task, canaries=60, seed=1)
    assert other.pledge.coins != caught.pledge.coins


def test_coins_are_pledged_before_anything_is_trained(recipe, data, idle, task, tmp_path, caplog):
    told = []

    def fit(model, dataset):
        told.extend(path.read_text() for path in tmp_path.glob("*/pledge.json"))
        return recipe.fit(model, dataset)

    with caplog.at_level(logging.INFO, "expunge"):
        found = rehearse(
            replace(recipe, fit=fit), data, idle, task=task, canaries=20, cache=tmp_path
        )
    assert found.pledge.commitment in told[0]
    assert found.pledge.commitment in caplog.text
    assert found.pledge.coins not in told[0]


def test_with_a_cache_nothing_is_done_twice(recipe, data, idle, task, tmp_path, caught):
    epochs = []
    counted = replace(
        recipe, fit=replace(recipe.fit, progress=lambda _, done, __: epochs.append(done))
    )
    first, second = (
        rehearse(counted, data, idle, task=task, canaries=60, cache=tmp_path) for _ in range(2)
    )
    assert len(epochs) == 60
    assert torch.equal(first.scores["phi"], second.scores["phi"])
    assert first.p == second.p == caught.p
    rehearse(counted, data, Finetune(epochs=1), task=task, canaries=60, cache=tmp_path)
    assert len(epochs) == 120


def test_an_interrupted_rehearsal_goes_on_where_it_stopped(recipe, data, idle, task, tmp_path):
    class Stopped(Exception):
        pass

    epochs = []

    def stop(step, done, _):
        if step == "train":
            epochs.append(done)
        if done == 40 and len(epochs) == 40:
            raise Stopped

    halting = replace(recipe, fit=replace(recipe.fit, progress=stop))
    given = {"task": task, "canaries": 20, "cache": tmp_path}
    with pytest.raises(Stopped):
        rehearse(halting, data, idle, **given)
    resumed = rehearse(halting, data, idle, **given)
    assert epochs == [*range(1, 41), *range(41, 61)]
    whole = rehearse(recipe, data, idle, task=task, canaries=20)
    assert torch.equal(resumed.scores["phi"], whole.scores["phi"])


def test_a_purge_removes_what_was_trained_on_somebodys_data(recipe, data, idle, task, tmp_path):
    rehearse(recipe, data, idle, task=task, canaries=20, cache=tmp_path)
    assert [*tmp_path.glob("*/*.safetensors")]
    purge(torch.tensor([3]), data_digest(data), tmp_path)
    assert not [*tmp_path.glob("*/*.safetensors")]


def test_a_purge_removes_the_shadows_of_a_rehearsal_too(recipe, data, idle, task, tmp_path):
    quick = replace(recipe, fit=replace(recipe.fit, epochs=1))
    rehearse(quick, data, idle, task=task, canaries=20, shadows=2, cache=tmp_path)
    assert [*tmp_path.glob("*/shadow-*")]
    purge(torch.tensor([3]), data_digest(data), tmp_path)
    assert not [*tmp_path.glob("*/*.safetensors")]


def test_what_a_method_may_look_at_is_pledged_and_its_shadows_may_too(
    recipe, data, idle, task, draw, tmp_path
):
    quick = replace(recipe, fit=replace(recipe.fit, epochs=1))
    given = {"task": task, "canaries": 20, "cache": tmp_path, "shadows": 2}
    pledges = [
        rehearse(quick, data, idle, validation=aside, **given).pledge
        for aside in (None, draw(23, 8), draw(23, 9))
    ]
    assert len({pledge.commitment for pledge in pledges}) == 3
    assert len([*tmp_path.glob("*/shadow-1.safetensors")]) == 1
    assert len([*tmp_path.glob("*/shadow-1.answers.safetensors")]) == 1 + 3


def test_canaries_of_ones_own_stand_beside_the_data(recipe, data, idle, task, draw):
    own = Canaries.of({"strangers": mislabelled(draw(34, 5), seed=2)})
    found = rehearse(recipe, data, idle, task=task, canaries=own)
    assert [*found.pledge.arms] == ["strangers"]
    assert found.made == 12
    assert found.p < 0.01


def test_other_tasks_are_rehearsed_by_their_losses(recipe, data, idle):
    x, y = data.tensors
    numbers = type(data)(x, y.float()[:, None].expand(-1, 3).contiguous())
    task = Regression()
    fit = replace(recipe.fit, task=task, epochs=5, lr=0.01)
    found = rehearse(replace(recipe, fit=fit), numbers, idle, task=task, canaries=30)
    assert found.pledge.attacks == ("loss",)
    assert [*found.pledge.arms] == [NATURAL]


def test_what_cannot_be_rehearsed_is_refused(recipe, data, idle, task):
    with pytest.raises(TargetMismatch, match="no single samples"):
        rehearse(recipe, data, Leace(), task=task)
    with pytest.raises(BadSetting, match="cannot be set aside"):
        rehearse(recipe, data, idle, task=task, canaries=500)


def test_coins_that_let_no_canary_in_leave_nothing_to_rehearse(
    recipe, data, idle, task, monkeypatch
):
    monkeypatch.setattr(Pledge, "tossed", torch.zeros(2, dtype=torch.bool))
    with pytest.raises(BadSetting, match="none is trained on") as caught:
        rehearse(recipe, data, idle, task=task, canaries=2)
    assert f"{FEWEST} at least" in caught.value.hint


def test_ten_canaries_are_the_fewest_that_can_accuse_in_one_of_two_arms():
    def least(count):
        scores = torch.arange(count).double()  # no two canaries are known equally well
        return 1 - (1 - fresh_coins(scores[None], scores >= count // 2).p) ** 2

    assert least(FEWEST // 2) < 0.05 < least(FEWEST // 2 - 1)


def test_shadow_models_let_an_attack_judge_every_canary_by_itself(recipe, data, idle, task):
    quick = replace(recipe, fit=replace(recipe.fit, epochs=12))
    given = {"task": task, "canaries": 60}
    found = rehearse(quick, data, idle, shadows=4, **given)
    assert found.pledge.attacks == ("ulira", "phi")
    assert found.scores.keys() == {"ulira", "phi"}
    assert found.p < 0.01
    assert found.right("ulira") >= 14
    alone = rehearse(quick, data, idle, **given)
    assert alone.pledge.commitment != found.pledge.commitment
