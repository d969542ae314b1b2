"""What was pledged can be checked, and the chance of it is exact."""

import json
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch.utils.data import TensorDataset

from expunge.algebra.coins import epsilon
from expunge.errors import CannotRead
from expunge.planting import Canaries
from expunge.rehearsal import Pledge, Rehearsal


def pledged(seed, sizes=(31, 20)):
    arms = {f"arm {k}": TensorDataset(torch.zeros(n, 1)) for k, n in enumerate(sizes)}
    return Pledge.of(Canaries.of(arms), {"seed": seed}, ("phi",))


def played(pledge, scores, before=None):
    return Rehearsal(pledge, {"phi": scores}, {"phi": scores if before is None else before}, 1.0)


def noise(seed, n=51):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)).double()


def test_coins_are_fair_and_independent_of_their_place():
    tossed = torch.stack([pledged(seed).tossed for seed in range(200)]).double()
    assert abs(tossed.mean() - 0.5) < 0.02
    assert (tossed.mean(0) - 0.5).abs().max() < 0.15


def test_perfect_guesses_reach_the_ceiling():
    pledge = pledged(0)
    found = played(pledge, pledge.tossed.double() + noise(1) / 100)
    assert found.made == 10 + 6
    assert found.right("phi") == found.made
    assert found.p == pytest.approx(2e-4, rel=1e-3)  # the least there is, of two arms
    assert found.epsilon() == epsilon(16, 16)
    accused = found.measurements()[0]
    assert accused.comparison.difference.value == 0.5


def test_scores_that_know_no_coin_give_a_uniform_p():
    found = [played(pledged(seed), noise(seed + 1000)).p for seed in range(100)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_an_arm_that_is_easier_is_no_sign():
    pledge = pledged(3)
    lifted = noise(5) + 100 * torch.isin(torch.arange(51), torch.tensor(pledge.arms["arm 1"]))
    assert played(pledge, lifted).p == played(pledge, noise(5)).p
    assert played(pledge, lifted).right("phi") == played(pledge, noise(5)).right("phi")


def test_only_the_order_of_scores_matters():
    pledge, scores = pledged(4), noise(6)
    one, other = played(pledge, scores), played(pledge, scores.exp() * 7)
    assert (one.p, one.right("phi")) == (other.p, other.right("phi"))


def test_canaries_that_were_pushed_too_far_are_caught_too():
    pledge = pledged(5)
    found = played(pledge, -pledge.tossed.double() + noise(1) / 100)
    assert found.p == pytest.approx(2e-4, rel=1e-3)  # the least there is, of two arms
    assert found.right("phi") == 0
    assert found.epsilon() == 0  # which way to guess was pledged


def test_a_rehearsal_survives_a_round_trip_exactly(tmp_path):
    found = played(pledged(6), noise(7), noise(8))
    found.save(tmp_path / "rehearsal.json")
    again = Rehearsal.read(tmp_path / "rehearsal.json")
    assert again.pledge.commitment == found.pledge.commitment
    assert again.measurements() == found.measurements()


@pytest.mark.parametrize("what", ["coins", "guesses", "arms", "nonce"])
def test_what_was_chosen_afterwards_is_refused(what, tmp_path):
    path = tmp_path / "rehearsal.json"
    played(pledged(6), noise(7)).save(path)
    body = json.loads(path.read_text())
    body["pledge"][what] = {
        "coins": "".join("10"[int(c)] for c in body["pledge"]["coins"]),
        "guesses": {"arm 0": 2, "arm 1": 2},
        "arms": {"arm 0": [*range(51)]},
        "nonce": "another",
    }[what]
    path.write_text(json.dumps(body))
    with pytest.raises(CannotRead, match="pledged before"):
        Rehearsal.read(path)


def test_scores_that_are_missing_are_refused(tmp_path):
    path = tmp_path / "rehearsal.json"
    played(pledged(6), noise(7)).save(path)
    body = json.loads(path.read_text())
    body["scores"]["phi"] = body["scores"]["phi"][:-1]
    path.write_text(json.dumps(body))
    with pytest.raises(CannotRead):
        Rehearsal.read(path)


def test_the_commitment_hides_everything_that_counts():
    pledge = pledged(6)
    others = (
        replace(pledge, coins=pledge.coins[::-1]),
        replace(pledge, guesses={"arm 0": 2}),
        replace(pledge, attacks=("loss",)),
        replace(pledge, made={"seed": 7}),
    )
    assert len({each.commitment for each in (pledge, *others)}) == 5


def test_one_canary_is_too_few_to_guess():
    pledge = pledged(9, (1,))
    (alone,) = played(pledge, noise(1, 1)).measurements()
    assert alone.comparison is None
    assert alone.value == 1.0
