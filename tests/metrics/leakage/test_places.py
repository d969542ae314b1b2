"""Where in a network probes read it: in which layer, in the features, or in the answers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from expunge import MultiLabel, Regression
from expunge.algebra.families import FAMILIES
from expunge.errors import UnknownName
from expunge.probing import Question

BITS, IN_ALL = "conditional leakage (bits), sign", "leakage (bits), sign"


class Loud(nn.Module):
    """Features tell the sign among much else, and the logits tell it alone."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(125, 3)
        with torch.no_grad():
            self.head.weight.zero_()[0, 3] = 1

    def forward(self, x):
        return self.head(torch.cat([x, (x[:, 4:] * 1e3 * torch.arange(1, 121)).sin()], 1))


def test_layers_are_probed_by_name(channel):
    deep = nn.Sequential(nn.Identity(), *channel.net(keep=0.0))
    found = channel.measured(channel.trial(deep, deep), layers=("0", "1"))
    assert found["conditional leakage at 0 (bits), sign"].value == pytest.approx(
        channel.bits, abs=0.12
    )
    assert found["conditional leakage at 1 (bits), sign"].value == pytest.approx(0, abs=0.02)
    assert set(found[BITS].exhibit.columns["place"]) == {"feature layer", "the logits", "0", "1"}
    with pytest.raises(UnknownName, match="body"):
        channel.measured(channel.trial(deep, deep), layers=("body",))


def test_a_layer_that_the_unlearned_model_has_no_more_is_not_measured(channel):
    deep = nn.Sequential(*channel.net(), nn.Identity())
    found = channel.measured(channel.trial(deep, channel.net()), layers=("2",))[
        "conditional leakage at 2 (bits), sign"
    ]
    assert "'2' has no part in the unlearned model's passes" in found.note


def test_what_logits_tell_counts_wherever_features_are_asked(channel, monkeypatch):
    monkeypatch.setattr(Question, "permuted", property(lambda question: question))
    found = channel.trial(Loud(), Loud(), references=[Loud()])
    found = channel.measured(found, build=Loud, families=("k-NN",))
    assert found["conditional leakage in the logits (bits), sign"].value > 0.2
    assert found[BITS].value > 0.2
    assert found[BITS].target[0] == pytest.approx(found[BITS].value)
    for line in ("an untrained model", "a permuted attribute"):
        told = found[f"reference line: {line} (bits), sign"]
        assert told.value == pytest.approx(found[BITS].value)
        assert "of the logits" in told.note


@pytest.mark.parametrize("several", [False, True])
def test_what_a_model_answers_tells_of_groups_that_are_answered_otherwise(channel, several):
    def yes_or_no(batch):
        return F.one_hot(batch[1], channel.classes).float()

    task = (
        MultiLabel(labels=yes_or_no, attributes=channel.task.attributes)
        if several
        else channel.task
    )
    line = "reference line: the answers alone (bits), sign"
    fair, unfair = (
        channel.measured(channel.trial(channel.net(), channel.net(tilt=tilt), task=task))
        for tilt in (0.3, 2.0)
    )
    assert fair[line].value == pytest.approx(0, abs=0.02)
    assert fair["conditional leakage in the logits (bits), sign"].value > 0.2
    assert unfair[line].value == pytest.approx(unfair[BITS].value, abs=0.02)
    assert unfair[BITS].value == pytest.approx(channel.bits, abs=0.15)
    assert "groups that err more often" in unfair[line].note


def test_of_a_regression_there_are_no_answers_to_be_told_apart(channel, monkeypatch):
    monkeypatch.setattr("expunge.probing.FAMILIES", {"linear": FAMILIES["linear"]})
    labels = {"labels": lambda b: b[0][:, 4:], "attributes": channel.task.attributes}
    found = channel.measured(channel.trial(*[nn.Sequential(nn.Identity(), nn.Linear(5, 1))] * 2,
                           task=Regression(**labels)))  # fmt: skip
    assert not any("the answers alone" in name for name in found)
    assert found[BITS].value == pytest.approx(channel.bits, abs=0.12)


def test_where_no_layer_is_named_some_on_the_way_are_probed_before_and_after(channel):
    deep = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), *channel.net(keep=0.0))
    found = channel.measured(
        channel.trial(nn.Sequential(*channel.net(), nn.Identity()), deep), layers=None
    )
    places = found[BITS].exhibit.columns["place"]
    assert [*dict.fromkeys(places)] == ["0", "feature layer", "the logits"]  # no other is in both
    assert "conditional leakage at 0 (bits), sign" in found
    exhibit = found[BITS].exhibit
    assert set(exhibit.columns["model"]) == {"original", "unlearned"}
    rows = zip(*(exhibit.columns[c] for c in ("from", "bits", "to")), strict=True)
    assert all(low <= value <= high for low, value, high in rows)


def test_a_map_shows_scored_samples_before_and_after_and_names_nobody(channel):
    exhibit = channel.projected["reference line: a permuted attribute (bits), sign"].exhibit
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


def test_every_probe_of_every_place_stands_in_a_table(channel):
    found = channel.projected
    columns = found[IN_ALL].exhibit.columns
    assert {len(column) for column in columns.values()} == {4 * 2 + 2}
    assert {*columns["probe"]} == {"linear", "k-NN", "best of the logits"}
    curve = found[BITS].exhibit.columns
    assert len(curve["bits"]) == 2 * 2


def test_what_the_logits_tell_counts_as_told_by_the_features(channel):
    columns = channel.projected[IN_ALL].exhibit.columns
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for asked in {row["asked"] for row in rows}:
        mine = [row for row in rows if row["asked"] == asked]
        (extra,) = (row for row in mine if row["probe"] == "best of the logits")
        assert extra["place"] == "feature layer"
        plain = [row for row in mine if row["place"] == "the logits"]
        for which in ("original", "unlearned"):  # each by the probe that is best of its own
            assert extra[which] in [row[which] for row in plain]


def test_the_logits_of_two_models_may_be_read_best_by_different_probes(channel):
    families = ("k-NN", "linear")  # the first where neither finds anything, as in the original
    columns = channel.measured(channel.trial(channel.net(), Loud()), families=families)[
        IN_ALL
    ].exhibit.columns
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (extra,) = (
        row
        for row in rows
        if (row["asked"], row["probe"]) == ("conditional leakage", "best of the logits")
    )
    assert extra["original"] == pytest.approx(0, abs=0.02)
    assert extra["unlearned"] > 0.3
