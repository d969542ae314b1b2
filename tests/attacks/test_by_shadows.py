"""Attacks that learn from shadow models what every single record looks like."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from expunge.algebra.likelihoods import normal_ratio, standing, student_ratio
from expunge.algebra.ratios import online_ratio
from expunge.algebra.statistics import auc, clopper_pearson
from expunge.attacks.lira import Lira
from expunge.attacks.rmia import Rmia
from expunge.attacks.shokri import Shokri
from expunge.attacks.swap import Swap
from expunge.attacks.threshold import Threshold
from expunge.attacks.ulira import Ulira
from expunge.errors import MissingInput, ModelDoesNotFit
from expunge.observing import Snapshot


def auc_of(attack, snapshot):
    scores = attack.score(snapshot)
    return auc(scores.member, scores.nonmember).value


def by_id(seen, scores):
    return dict(zip(seen.ids.tolist(), scores.tolist(), strict=True))


@pytest.mark.parametrize("attack", [Lira, Ulira, Rmia])
def test_records_by_their_own_models_tell_what_one_threshold_does_not(planted, attack):
    world = planted()
    shadows, snapshot = world.shadows(), world.snapshot()
    plain, single = auc_of(Threshold("phi"), snapshot), auc_of(attack(shadows), snapshot)
    assert plain < 0.67
    assert single > plain + 0.06


RATIOS = {
    "student": student_ratio,
    "normal": normal_ratio,
    "pooled": lambda *given: normal_ratio(*given, spread="pooled"),
    "above": standing,
    "below": lambda *given: standing(*given, tail="less"),
    "away": lambda *given: standing(*given, tail="two"),
}


@pytest.mark.parametrize("by", RATIOS)
def test_lira_judges_every_record_by_its_own_column_whatever_the_order(planted, by):
    world = planted(m=11, population=5)
    shadows, snapshot = world.shadows(), world.snapshot()
    phi = by_id(snapshot.forget, snapshot.forget.phi)
    told = by_id(snapshot.test, snapshot.test.phi)
    target = torch.tensor(
        [phi[i] for i in world.forget_ids.tolist()] + [told[i] for i in world.test_ids.tolist()],
        dtype=torch.double,
    )[:22]
    wanted = RATIOS[by](shadows.original[:, :22], shadows.trained[:, :22], target)
    found = Lira(shadows, by).score(snapshot)
    ours = by_id(snapshot.forget, found.member)
    torch.testing.assert_close(
        torch.tensor([ours[i] for i in world.forget_ids.tolist()], dtype=torch.double), wanted[:11]
    )
    torch.testing.assert_close(found.nonmember.sort().values, wanted[11:].sort().values)


def test_shadows_that_were_not_unlearned_look_for_the_wrong_thing(planted):
    world = planted(left=-1.0)  # whoever is forgotten stands out the other way
    shadows, snapshot = world.shadows(), world.snapshot()
    assert auc_of(Ulira(shadows), snapshot) > 0.65
    assert auc_of(Lira(shadows), snapshot) < 0.35


@pytest.mark.parametrize("attack", [Ulira, Rmia, Shokri])
def test_what_unlearning_took_away_is_not_found(planted, attack):
    world = planted(left=0.0)
    scores = attack(world.shadows()).score(world.snapshot())
    found = auc(scores.member, scores.nonmember)
    assert found.low <= 0.5 <= found.high


def test_efficacy_tells_a_model_that_answers_otherwise_though_privacy_is_kept(planted):
    world = planted(left=0.0, shift=-2.0)
    shadows, snapshot = world.shadows(retrained=6), world.snapshot()
    assert abs(auc_of(Ulira(shadows), snapshot) - 0.5) < 0.06
    assert auc_of(Ulira(shadows, "efficacy"), snapshot) > 0.85


def test_a_retrained_model_is_not_told_from_retrained_ones(planted):
    world = planted(shift=-1.0)
    shadows = world.shadows(retrained=6)
    scores = Ulira(shadows, "efficacy").score(world.snapshot(left=0.0, shift=0.0))
    assert len(scores.nonmember) == 6 * world.m
    assert abs(auc(scores.member, scores.nonmember).value - 0.5) < 0.05


def test_games_without_their_models_say_what_is_missing(planted):
    world = planted(m=12)
    with pytest.raises(MissingInput, match="several retrained models, there are 1"):
        Ulira(world.shadows(retrained=1), "efficacy").score(world.snapshot())
    with pytest.raises(MissingInput, match="were not unlearned"):
        Ulira(world.shadows(method="")).score(world.snapshot())
    with pytest.raises(MissingInput, match="no mirror"):
        Swap(world.shadows()).score(world.snapshot())


def test_rmia_orders_records_as_their_ratios_do(planted):
    world = planted()
    shadows, snapshot = world.shadows(), world.snapshot()
    told = Rmia(shadows).score(snapshot)
    alone = snapshot.test.only(_came(snapshot, world))  # nobody whom no model knew
    plain = Rmia(shadows).score(replace(snapshot, test=alone))
    assert stats.spearmanr(told.member.numpy(), plain.member.numpy()).statistic > 0.999
    assert {round(float(x) * 150) / 150 for x in told.member} == {*told.member.tolist()}
    confidence = by_id(snapshot.forget, snapshot.forget.confidence)
    target = torch.tensor([confidence[i] for i in world.forget_ids.tolist()]).double()
    columns = slice(world.m)
    wanted = online_ratio(shadows.scores.sigmoid()[:, columns], shadows.trained[:, columns], target)
    found = by_id(snapshot.forget, plain.member)
    found = torch.tensor([found[i] for i in world.forget_ids.tolist()]).double()
    torch.testing.assert_close(found, wanted)


def _came(snapshot, world):
    return torch.isin(snapshot.test.ids, world.test_ids[: world.m])


def test_offline_rmia_is_a_p_value_for_records_that_no_model_knew(planted):
    world = planted(population=1500, gap=0.0)
    scores = Rmia(world.shadows(8), mode="offline").score(world.snapshot()).nonmember
    for share in (0.8, 0.9, 0.95):
        named = int((scores >= share).sum())
        assert clopper_pearson(named, len(scores), 0.999).low <= 1 - share


def test_swapping_leaves_the_paper_s_advantage_at_every_threshold(planted):
    world = planted(m=60)
    shadows, snapshot = world.shadows(mirror=True), world.snapshot()
    scores = Swap(shadows).score(snapshot)
    ours, mirror = snapshot, shadows.mirror.scores
    here = ours.test.only(_came(ours, world)).phi
    for line in (-1.0, 0.5, 2.0, 4.0):
        on_forgotten = (ours.forget.phi > line).double().mean() + (
            mirror[world.m : 2 * world.m] > line
        ).double().mean()
        on_held_out = (here > line).double().mean() + (mirror[: world.m] > line).double().mean()
        paper = abs(on_forgotten - on_held_out) / 2
        rates = [(side > line).double().mean() for side in (scores.member, scores.nonmember)]
        torch.testing.assert_close(abs(rates[0] - rates[1]), paper)


def test_a_difference_between_the_two_sets_is_no_leak_to_the_swap_test(planted):
    world = planted(gap=0.0)
    world.hard[: world.m] += 5  # the forget set is easy for everybody
    shadows, snapshot = world.shadows(mirror=True), world.snapshot()
    assert auc_of(Threshold("phi"), snapshot) > 0.8
    assert abs(auc_of(Swap(shadows), snapshot) - 0.5) < 0.04


def test_the_swap_test_finds_what_was_never_unlearned(planted):
    world = planted(gap=60.0)
    assert auc_of(Swap(world.shadows(mirror=True)), world.snapshot()) == 1.0


def test_shokri_learns_what_one_threshold_cannot(planted, observed):
    world = planted(gap=0.0)
    world.hard = torch.zeros(world.size).double()
    world.gap = torch.where(torch.arange(world.size) % 2 == 0, 3.0, -3.0).double()
    labels = torch.arange(world.size) % 2  # one class stands out upwards, the other downwards
    shadows = world.shadows()
    shadows = replace(shadows, pool=replace(shadows.pool, labels=labels))
    phi = world.models(torch.arange(world.size) < world.m)
    test = observed(world.test_ids, phi[world.m :], labels[world.m :])
    snapshot = Snapshot(observed(world.forget_ids, phi[: world.m], labels[: world.m]), test, test)
    assert abs(auc_of(Threshold("phi"), snapshot) - 0.5) < 0.1
    assert auc_of(Shokri(shadows), snapshot) > 0.9


def test_some_of_the_forget_set_may_be_asked_about(planted):
    world = planted()
    shadows, snapshot = world.shadows(), world.snapshot()
    whole = by_id(snapshot.forget, Ulira(shadows).score(snapshot).member)
    some = snapshot.about(world.forget_ids[:7])
    part = Ulira(shadows).score(some)
    for i, score in by_id(some.forget, part.member).items():
        assert score == pytest.approx(whole[i])


def test_shadows_of_another_network_task_or_data_are_refused(planted, observed):
    world = planted(m=12)
    shadows, snapshot = world.shadows(), world.snapshot()
    pool = shadows.pool
    odd = {
        "answers \\(2,\\) numbers": replace(pool, width=(10,)),
        "under other labels": replace(pool, labels=1 - pool.labels),
        "asked for a regression task": replace(pool, kind="regression"),
    }
    for fact, other in odd.items():
        with pytest.raises(ModelDoesNotFit, match=fact):
            Ulira(replace(shadows, pool=other)).score(snapshot)
    strangers = observed(torch.arange(900, 912), torch.zeros(12).double())
    with pytest.raises(MissingInput, match="no forgotten sample came and went"):
        Lira(shadows).score(replace(snapshot, forget=strangers))
    with pytest.raises(MissingInput, match="no held-out sample came and went"):
        Lira(shadows).score(replace(snapshot, test=strangers))
