"""What probes read where it is known what there is to read."""

from functools import cache, partial
from math import log2

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import (
    Attribute,
    Classification,
    Evidence,
    MultiLabel,
    Outcome,
    Regression,
    Request,
    Samples,
    audit,
    split,
)
from expunge.algebra.families import FAMILIES, boosted
from expunge.algebra.perceptrons import fit
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput, UnknownName
from expunge.metric import Trial
from expunge.metrics.leakage import Leakage
from expunge.observing import snapshot
from expunge.probing import Question

ASIDE, TEST, C = 150, 500, 3
WRONG = 0.1
CHANNEL = 1 + WRONG * log2(WRONG) + (1 - WRONG) * log2(1 - WRONG)
"""Bits of a balanced yes or no that is told wrongly so often."""

BITS, IN_ALL = "conditional leakage (bits), sign", "leakage (bits), sign"


def data(n, seed, sign=None):
    """Inputs hold the class, noise, and a sign behind a channel."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(C, (n,), generator=draw)
    z = torch.randint(2, (n,), generator=draw) if sign is None else sign(y)
    seen = torch.where(torch.rand(n, generator=draw) < WRONG, 1 - z, z) if sign is None else z
    x = [F.one_hot(y, C), 2.0 * seen[:, None] - 1, torch.randn(n, 1, generator=draw)]
    return TensorDataset(torch.cat(x, 1), y, z, torch.arange(n) // 4)


def net(keep=1.0, tilt=0.0):
    """Features are the inputs, the channel times ``keep``; answers rest on the class, and tilt."""
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, C))
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(torch.eye(5)[: len(layer.weight)])
            layer.bias.zero_()
        model[0].weight[3, 3] = keep
        model[1].weight[0, 3] = tilt
        model[1].bias.fill_(-0.5)
    return model


class Loud(nn.Module):
    """Features tell the sign among much else, and the logits tell it alone."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(125, C)
        with torch.no_grad():
            self.head.weight.zero_()[0, 3] = 1

    def forward(self, x):
        return self.head(torch.cat([x, (x[:, 4:] * 1e3 * torch.arange(1, 121)).sin()], 1))


TASK = Classification(attributes={"sign": lambda batch: batch[2], "who": lambda batch: batch[3]})


def parts(sign=None, target=None):
    request = Request(target or Attribute("sign"))
    made = [data(n, seed, sign) for seed, n in enumerate((20, TEST, ASIDE))]
    return split(made[0], request, test=made[1], validation=made[2])


def trial(before, after, found=None, references=(), task=TASK):
    found = found or parts()
    look = partial(snapshot, split=found, task=task)
    members = [Reference(lambda m=m: m, look(m), k, 1.0, "") for k, m in enumerate(references)]
    outcome = Outcome.of(before, after, found, task=task)
    return Trial(
        outcome, look(before), look(after), References(tuple(members)) if members else None
    )


def measured(found, **settings):
    metric = Leakage(**{"families": ("linear",), "layers": (), **settings})
    return {m.name: m for m in metric.measure(found)}


@cache
def kept():
    """Nothing was taken out."""
    return measured(trial(net(), net()))


@cache
def projected():
    """The channel was taken out, and an untrained model would hold it."""
    build = partial(net, keep=0.3)
    return measured(trial(net(), net(keep=0.0)), build=build, families=("linear", "k-NN"))


def test_the_bits_of_a_channel_are_found_in_the_features_and_not_in_answers_without_it():
    found = kept()
    low, high = found[BITS].interval
    assert low < CHANNEL < high
    assert found[BITS].value == pytest.approx(CHANNEL, abs=0.12)
    assert found[IN_ALL].value == pytest.approx(CHANNEL, abs=0.12)
    assert found["conditional leakage (accuracy gain), sign"].value == pytest.approx(0.4, abs=0.1)
    assert found["conditional leakage (AUC), sign"].value == pytest.approx(0.9, abs=0.05)
    assert found["conditional leakage in the logits (bits), sign"].interval[0] <= 0
    assert found[BITS].n == 2 * TEST // 5


def test_what_was_projected_away_is_gone_and_the_original_told_it():
    found = projected()
    assert found[BITS].interval[0] <= 0 <= found[BITS].interval[1]
    assert found[BITS].value < 0.02
    assert found[BITS].original.low > 0.2
    assert "% of the original's" in found[BITS].note
    assert found["exposed samples (share), sign"].value == 0
    assert found["exposed samples (share), sign"].original.value == pytest.approx(0.9, abs=0.1)


def test_an_attribute_that_the_label_tells_leaks_in_all_and_not_beyond_the_label():
    found = measured(trial(net(), net(), parts(sign=lambda y: (y == 1).long())))
    there = -log2(1 / 3) / 3 - log2(2 / 3) * 2 / 3
    assert found[IN_ALL].value == pytest.approx(there, abs=0.05)
    assert found[BITS].value == pytest.approx(0, abs=0.02)
    label = found["reference line: the label alone (bits), sign"]
    assert label.value == pytest.approx(there, abs=0.05)
    assert found["conditional leakage (AUC), sign"].value is None
    assert "two groups" in found["conditional leakage (AUC), sign"].note


def test_beside_the_model_stand_what_inputs_chance_and_a_fresh_model_give():
    line = "reference line: {}, sign".format
    found = projected()
    assert found[line("raw inputs (bits)")].value == pytest.approx(CHANNEL, abs=0.12)
    assert found[line("an untrained model (bits)")].value == pytest.approx(CHANNEL, abs=0.12)
    assert found[line("a permuted attribute (bits)")].interval[0] <= 0
    assert found[line("the commonest group (share)")].value == pytest.approx(0.5, abs=0.1)
    assert found[line("the label alone (bits)")].value == pytest.approx(0, abs=0.03)


def test_without_a_way_to_build_an_untrained_model_its_line_says_so():
    found = kept()["reference line: an untrained model (bits), sign"]
    assert found.value is None
    assert "no way to build an untrained model" in found.note


def test_layers_are_probed_by_name():
    deep = nn.Sequential(nn.Identity(), *net(keep=0.0))
    found = measured(trial(deep, deep), layers=("0", "1"))
    assert found["conditional leakage at 0 (bits), sign"].value == pytest.approx(CHANNEL, abs=0.12)
    assert found["conditional leakage at 1 (bits), sign"].value == pytest.approx(0, abs=0.02)
    assert set(found[BITS].exhibit.columns["place"]) == {"feature layer", "the logits", "0", "1"}
    with pytest.raises(UnknownName, match="body"):
        measured(trial(deep, deep), layers=("body",))


def test_a_layer_that_the_unlearned_model_has_no_more_is_not_measured():
    deep = nn.Sequential(*net(), nn.Identity())
    found = measured(trial(deep, net()), layers=("2",))["conditional leakage at 2 (bits), sign"]
    assert "'2' has no part in the unlearned model's passes" in found.note


def test_who_is_exposed_is_told_as_a_distribution_without_names():
    exhibit = projected()["exposed samples (share), sign"].exhibit
    assert set(exhibit.columns) == {"bits", "share", "model"}
    for which in ("original", "unlearned"):
        shares = [s for s, m in zip(exhibit.columns["share"], exhibit.columns["model"],
                                    strict=True) if m == which]  # fmt: skip
        assert sum(shares) == pytest.approx(1)


def test_nobody_is_exposed_by_what_a_common_group_costs_anyway():
    draw = torch.Generator().manual_seed(3)
    found = parts(sign=lambda y: (torch.rand(len(y), generator=draw) < 0.06).long())
    exposed = measured(trial(net(), net(), found))["exposed samples (share), sign"]
    assert 0 < exposed.value < 0.12  # all are told, and the few of the rare group are exposed
    assert "more than 0.5" in exposed.note


def test_what_logits_tell_counts_wherever_features_are_asked(monkeypatch):
    monkeypatch.setattr(Question, "permuted", property(lambda question: question))
    found = trial(Loud(), Loud(), references=[Loud()])
    found = measured(found, build=Loud, families=("k-NN",))
    assert found["conditional leakage in the logits (bits), sign"].value > 0.2
    assert found[BITS].value > 0.2
    assert found[BITS].target[0] == pytest.approx(found[BITS].value)
    for line in ("an untrained model", "a permuted attribute"):
        told = found[f"reference line: {line} (bits), sign"]
        assert told.value == pytest.approx(found[BITS].value)
        assert "of the logits" in told.note


class _Several(MultiLabel):
    """A yes or no for every class."""

    def __init__(self):
        super().__init__(labels=lambda b: F.one_hot(b[1], C).float(), attributes=TASK.attributes)


@pytest.mark.parametrize("task", [TASK, _Several()], ids=lambda task: task.kind)
def test_what_a_model_answers_tells_of_groups_that_are_answered_otherwise(task):
    line = "reference line: the answers alone (bits), sign"
    fair, unfair = (measured(trial(net(), net(tilt=tilt), task=task)) for tilt in (0.3, 2.0))
    assert fair[line].value == pytest.approx(0, abs=0.02)
    assert fair["conditional leakage in the logits (bits), sign"].value > 0.2
    assert unfair[line].value == pytest.approx(unfair[BITS].value, abs=0.02)
    assert unfair[BITS].value == pytest.approx(CHANNEL, abs=0.15)
    assert "groups that err more often" in unfair[line].note


def test_of_a_regression_there_are_no_answers_to_be_told_apart(monkeypatch):
    monkeypatch.setattr("expunge.probing.FAMILIES", {"linear": FAMILIES["linear"]})
    labels = {"labels": lambda b: b[0][:, 4:], "attributes": TASK.attributes}
    found = measured(trial(*[nn.Sequential(nn.Identity(), nn.Linear(5, 1))] * 2,
                           task=Regression(**labels)))  # fmt: skip
    assert not any("the answers alone" in name for name in found)
    assert found[BITS].value == pytest.approx(CHANNEL, abs=0.12)


def test_groups_too_rare_to_be_ranked_are_counted():
    def often(y):  # half of two classes, and hardly anybody of the first
        return (torch.arange(len(y)) % torch.where(y > 0, 2, 30) == 0).long()

    found = measured(trial(net(), net(), parts(sign=often)))["conditional leakage (AUC), sign"]
    assert found.note.endswith("2 groups of classes are too rare to be ranked")
    assert found.value == pytest.approx(1)
    assert "too rare" not in kept()["conditional leakage (AUC), sign"].note


def test_samples_of_one_subject_make_wider_intervals_and_are_not_divided():
    alone, whose = kept()[BITS], measured(trial(net(), net()), subjects="who")[BITS]
    assert whose.value == pytest.approx(alone.value, abs=0.2)
    assert alone.interval != whose.interval


def test_what_references_leak_stands_beside_it_and_a_floor_is_declared():
    found = measured(trial(net(), net(keep=0.0), references=[net(keep=k) for k in (0.9, 1.1)]))
    assert found[BITS].target == pytest.approx((CHANNEL, CHANNEL), abs=0.12)
    assert found[BITS].comparison is None  # nothing is to be left, whatever references leak
    assert found[BITS].floor == 0.01
    assert found[BITS.replace("conditional ", "")].floor is None


def test_where_no_layer_is_named_some_on_the_way_are_probed_before_and_after():
    deep = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), *net(keep=0.0))
    found = measured(trial(nn.Sequential(*net(), nn.Identity()), deep), layers=None)
    places = found[BITS].exhibit.columns["place"]
    assert [*dict.fromkeys(places)] == ["0", "feature layer", "the logits"]  # no other is in both
    assert "conditional leakage at 0 (bits), sign" in found
    exhibit = found[BITS].exhibit
    assert set(exhibit.columns["model"]) == {"original", "unlearned"}
    rows = zip(*(exhibit.columns[c] for c in ("from", "bits", "to")), strict=True)
    assert all(low <= value <= high for low, value, high in rows)


def test_a_map_shows_scored_samples_before_and_after_and_names_nobody():
    exhibit = projected()["reference line: a permuted attribute (bits), sign"].exhibit
    first, second, group, model = exhibit.columns.values()
    assert [*exhibit.columns][2:] == ["sign", "model"]
    where, apart = torch.tensor([first, second]).T, {}
    for which in ("original", "unlearned"):
        rows = [
            where[[g == w and m == which for g, m in zip(group, model, strict=True)]].mean(0)
            for w in ("0", "1")
        ]
        apart[which] = (rows[0] - rows[1]).norm().item()
    assert apart["original"] > 1 > 0.5 > apart["unlearned"]


def test_every_probe_of_every_place_stands_in_a_table():
    found = projected()
    columns = found[IN_ALL].exhibit.columns
    assert {len(column) for column in columns.values()} == {4 * 2 + 2}
    assert {*columns["probe"]} == {"linear", "k-NN", "best of the logits"}
    curve = found[BITS].exhibit.columns
    assert len(curve["bits"]) == 2 * 2


def test_what_the_logits_tell_counts_as_told_by_the_features():
    columns = projected()[IN_ALL].exhibit.columns
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for asked in {row["asked"] for row in rows}:
        mine = [row for row in rows if row["asked"] == asked]
        (extra,) = (row for row in mine if row["probe"] == "best of the logits")
        assert extra["place"] == "feature layer"
        plain = [row for row in mine if row["place"] == "the logits"]
        for which in ("original", "unlearned"):  # each by the probe that is best of its own
            assert extra[which] in [row[which] for row in plain]


def test_the_logits_of_two_models_may_be_read_best_by_different_probes():
    families = ("k-NN", "linear")  # the first where neither finds anything, as in the original
    columns = measured(trial(net(), Loud()), families=families)[IN_ALL].exhibit.columns
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (extra,) = (
        row
        for row in rows
        if (row["asked"], row["probe"]) == ("conditional leakage", "best of the logits")
    )
    assert extra["original"] == pytest.approx(0, abs=0.02)
    assert extra["unlearned"] > 0.3


def test_the_same_trial_gives_the_same_numbers_and_disturbs_no_draw():
    first, again = kept(), trial(net(), net())
    state = torch.get_rng_state()
    assert measured(again) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_every_family_is_asked_unless_some_are_named(monkeypatch):
    light = {
        "MLP": partial(fit, width=16, copies=1, rounds=4),
        "boosted trees": partial(boosted, stages=8),
    }
    monkeypatch.setattr("expunge.probing.FAMILIES", {**FAMILIES, **light})
    assert Leakage().families == tuple(FAMILIES)
    found = measured(trial(net(), net()), families=Leakage().families, rows=40)
    probes = {*found[IN_ALL].exhibit.columns["probe"]}
    assert probes == {*FAMILIES, "best of the logits"}
    assert found[BITS].value > 0.3


def test_without_an_attribute_to_ask_about_nothing_is_measured():
    with pytest.raises(MissingInput, match="no request names an attribute"):
        measured(trial(net(), net(), parts(target=Samples((1,)))))
    found = measured(trial(net(), net(), parts(target=Samples((1,)))), names=("sign",))
    assert found[BITS].value > 0.3


def test_an_attribute_that_is_the_same_for_all_says_so():
    found = measured(trial(net(), net(), parts(sign=lambda y: y * 0)))[BITS]
    assert (found.name, found.value) == (BITS, None)
    assert "is the same for all" in found.note


class _Noisy(nn.Module):
    """Draws at random in every pass, or tells nothing once the test set has been asked about."""

    def __init__(self, *, late):
        super().__init__()
        self.body, self.head = net(tilt=1.0)
        self.late, self.asked = late, 0

    def forward(self, x):
        self.asked += 1
        h = self.body(x)
        told = h[:, 3:4] * (self.asked < 3) if self.late else h[:, 3:4] + torch.randn(len(x), 1)
        return self.head(torch.cat([h[:, :3], told, h[:, 4:]], 1))


@pytest.mark.parametrize("late", [True, False])
def test_a_model_that_says_one_thing_and_then_another_is_not_believed(late):
    found = measured(trial(net(), _Noisy(late=late)))
    assert [name for name in found if "sign" in name] == [BITS]
    assert found[BITS].value is None
    assert "others when it is asked again" in found[BITS].note


def test_features_beside_the_way_to_the_answers_are_not_measured_or_are_told():
    task = Classification(layer="0", attributes=TASK.attributes)
    beside = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, C))

    class Beside(nn.Sequential):
        def forward(self, x):
            return self[1](x) + self[0](x)[:, :C] * (0.2 if self.training else 0.0)

    found = measured(trial(beside, Beside(*beside), task=task))
    assert "no part in the answers" in found[BITS].note


def test_evidence_with_leakage_is_kept_and_read_back():
    found = trial(net(), net(keep=0.0))
    evidence = audit(found.outcome, [Leakage(families=("linear",), layers=())])
    assert Evidence.from_json(evidence.to_json()).digest == evidence.digest
