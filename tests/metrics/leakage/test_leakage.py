"""What probes read where it is known what there is to read."""

from functools import partial
from math import log2

import pytest
import torch
from torch import nn

from expunge import Classification, Evidence, Samples, audit
from expunge.algebra.families import FAMILIES, boosted
from expunge.algebra.perceptrons import fit
from expunge.errors import MissingInput
from expunge.metrics.leakage import Leakage

BITS, IN_ALL = "conditional leakage (bits), sign", "leakage (bits), sign"


def test_the_bits_of_a_channel_are_found_in_the_features_and_not_in_answers_without_it(channel):
    found = channel.kept
    low, high = found[BITS].interval
    assert low < channel.bits < high
    assert found[BITS].value == pytest.approx(channel.bits, abs=0.12)
    assert found[IN_ALL].value == pytest.approx(channel.bits, abs=0.12)
    assert found["conditional leakage (accuracy gain), sign"].value == pytest.approx(0.4, abs=0.1)
    assert found["conditional leakage (AUC), sign"].value == pytest.approx(0.9, abs=0.05)
    assert found["conditional leakage in the logits (bits), sign"].interval[0] <= 0
    assert found[BITS].n == 2 * channel.unseen // 5


def test_what_was_projected_away_is_gone_and_the_original_told_it(channel):
    found = channel.projected
    assert found[BITS].interval[0] <= 0 <= found[BITS].interval[1]
    assert found[BITS].value < 0.02
    assert found[BITS].original.low > 0.2
    assert "% of the original's" in found[BITS].note
    assert found["exposed samples (share), sign"].value == 0
    assert found["exposed samples (share), sign"].original.value == pytest.approx(0.9, abs=0.1)


def test_an_attribute_that_the_label_tells_leaks_in_all_and_not_beyond_the_label(channel):
    found = channel.measured(
        channel.trial(channel.net(), channel.net(), channel.parts(sign=lambda y: (y == 1).long()))
    )
    there = -log2(1 / 3) / 3 - log2(2 / 3) * 2 / 3
    assert found[IN_ALL].value == pytest.approx(there, abs=0.05)
    assert found[BITS].value == pytest.approx(0, abs=0.02)
    label = found["reference line: the label alone (bits), sign"]
    assert label.value == pytest.approx(there, abs=0.05)
    assert found["conditional leakage (AUC), sign"].value is None
    assert "two groups" in found["conditional leakage (AUC), sign"].note


def test_beside_the_model_stand_what_inputs_chance_and_a_fresh_model_give(channel):
    line = "reference line: {}, sign".format
    found = channel.projected
    assert found[line("raw inputs (bits)")].value == pytest.approx(channel.bits, abs=0.12)
    assert found[line("an untrained model (bits)")].value == pytest.approx(channel.bits, abs=0.12)
    assert found[line("a permuted attribute (bits)")].interval[0] <= 0
    assert found[line("the commonest group (share)")].value == pytest.approx(0.5, abs=0.1)
    assert found[line("the label alone (bits)")].value == pytest.approx(0, abs=0.03)


def test_without_a_way_to_build_an_untrained_model_its_line_says_so(channel):
    found = channel.kept["reference line: an untrained model (bits), sign"]
    assert found.value is None
    assert "no way to build an untrained model" in found.note


def test_who_is_exposed_is_told_as_a_distribution_without_names(channel):
    exhibit = channel.projected["exposed samples (share), sign"].exhibit
    assert set(exhibit.columns) == {"bits", "share", "model"}
    for which in ("original", "unlearned"):
        shares = [s for s, m in zip(exhibit.columns["share"], exhibit.columns["model"],
                                    strict=True) if m == which]  # fmt: skip
        assert sum(shares) == pytest.approx(1)


def test_nobody_is_exposed_by_what_a_common_group_costs_anyway(channel):
    draw = torch.Generator().manual_seed(3)
    found = channel.parts(sign=lambda y: (torch.rand(len(y), generator=draw) < 0.06).long())
    exposed = channel.measured(channel.trial(channel.net(), channel.net(), found))[
        "exposed samples (share), sign"
    ]
    assert 0 < exposed.value < 0.12  # all are told, and the few of the rare group are exposed
    assert "more than 0.5" in exposed.note


def test_groups_too_rare_to_be_ranked_are_counted(channel):
    def often(y):  # half of two classes, and hardly anybody of the first
        return (torch.arange(len(y)) % torch.where(y > 0, 2, 30) == 0).long()

    found = channel.measured(
        channel.trial(channel.net(), channel.net(), channel.parts(sign=often))
    )["conditional leakage (AUC), sign"]
    assert found.note.endswith("2 groups of classes are too rare to be ranked")
    assert found.value == pytest.approx(1)
    assert "too rare" not in channel.kept["conditional leakage (AUC), sign"].note


def test_samples_of_one_subject_make_wider_intervals_and_are_not_divided(channel):
    alone, whose = (
        channel.kept[BITS],
        channel.measured(channel.trial(channel.net(), channel.net()), subjects="who")[BITS],
    )
    assert whose.value == pytest.approx(alone.value, abs=0.2)
    narrow, wide = (high - low for low, high in (alone.interval, whose.interval))
    assert wide > narrow


def test_what_references_leak_stands_beside_it_and_a_floor_is_declared(channel):
    found = channel.measured(
        channel.trial(
            channel.net(),
            channel.net(keep=0.0),
            references=[channel.net(keep=k) for k in (0.9, 1.1)],
        )
    )
    assert found[BITS].target == pytest.approx((channel.bits, channel.bits), abs=0.12)
    assert found[BITS].comparison is None  # nothing is to be left, whatever references leak
    assert found[BITS].floor == 0.01
    assert found[BITS.replace("conditional ", "")].floor is None


def test_the_same_trial_gives_the_same_numbers_and_disturbs_no_draw(channel):
    first, again = channel.kept, channel.trial(channel.net(), channel.net())
    state = torch.get_rng_state()
    assert channel.measured(again) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_every_family_is_asked_unless_some_are_named(channel, monkeypatch):
    light = {
        "MLP": partial(fit, width=16, copies=1, rounds=4),
        "boosted trees": partial(boosted, stages=8),
    }
    monkeypatch.setattr("expunge.probing.FAMILIES", {**FAMILIES, **light})
    assert Leakage().families == tuple(FAMILIES)
    found = channel.measured(
        channel.trial(channel.net(), channel.net()), families=Leakage().families, rows=40
    )
    probes = {*found[IN_ALL].exhibit.columns["probe"]}
    assert probes == {*FAMILIES, "best of the logits"}
    assert found[BITS].value > 0.3


def test_without_an_attribute_to_ask_about_nothing_is_measured(channel):
    with pytest.raises(MissingInput, match="no request names an attribute"):
        channel.measured(
            channel.trial(channel.net(), channel.net(), channel.parts(target=Samples((1,))))
        )
    found = channel.measured(
        channel.trial(channel.net(), channel.net(), channel.parts(target=Samples((1,)))),
        names=("sign",),
    )
    assert found[BITS].value > 0.3


def test_an_attribute_that_is_the_same_for_all_says_so(channel):
    found = channel.measured(
        channel.trial(channel.net(), channel.net(), channel.parts(sign=lambda y: y * 0))
    )[BITS]
    assert (found.name, found.value) == (BITS, None)
    assert "is the same for all" in found.note


class _Noisy(nn.Module):
    """Draws at random in every pass, or tells nothing once the test set has been asked about."""

    def __init__(self, net, *, late):
        super().__init__()
        self.body, self.head = net
        self.late, self.asked = late, 0

    def forward(self, x):
        self.asked += 1
        h = self.body(x)
        told = h[:, 3:4] * (self.asked < 3) if self.late else h[:, 3:4] + torch.randn(len(x), 1)
        return self.head(torch.cat([h[:, :3], told, h[:, 4:]], 1))


@pytest.mark.parametrize("late", [True, False])
def test_a_model_that_says_one_thing_and_then_another_is_not_believed(channel, late):
    found = channel.measured(channel.trial(channel.net(), _Noisy(channel.net(tilt=1.0), late=late)))
    assert [name for name in found if "sign" in name] == [BITS]
    assert found[BITS].value is None
    assert "others when it is asked again" in found[BITS].note


def test_features_beside_the_way_to_the_answers_are_not_measured_or_are_told(channel):
    task = Classification(layer="0", attributes=channel.task.attributes)
    beside = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, channel.classes))

    class Beside(nn.Sequential):
        def forward(self, x):
            return self[1](x) + self[0](x)[:, :3] * (0.2 if self.training else 0.0)

    found = channel.measured(channel.trial(beside, Beside(*beside), task=task))
    assert "no part in the answers" in found[BITS].note


def test_evidence_with_leakage_is_kept_and_read_back(channel):
    found = channel.trial(channel.net(), channel.net(keep=0.0))
    evidence = audit(found.outcome, [Leakage(families=("linear",), layers=())])
    assert Evidence.from_json(evidence.to_json()).digest == evidence.digest
