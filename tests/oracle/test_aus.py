"""AUS against the worked values of a published table, and the formula that a request selects."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.aus import Aus, aus
from expunge.observing import Observation, Snapshot
from expunge.outcome import Outcome
from expunge.request import Attribute, Classes, Request, Samples
from expunge.splitting import Part, Split
from expunge.tasks import Classification


@pytest.mark.parametrize(
    ("kept", "removed", "score"),
    [
        (0.9447, 0.9503, 0.5127),
        (0.9468, 0.0, 1.0021),
        (0.8671, 0.1537, 0.7995),
        (0.8530, 0.1233, 0.8086),
        (0.8873, 0.0243, 0.9202),
        (0.9497, 0.0, 1.0050),
        (0.9286, 0.0037, 0.9803),
    ],
)
def test_the_published_table_of_class_removal_is_reproduced(kept, removed, score):
    assert aus(0.9447, kept, removed) == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(
    ("original", "test", "forget", "score"),
    [(0.88, 0.87, 0.89, 0.9706), (0.88, 0.88, 1.0, 0.8929), (0.88, 0.1, 0.1, 0.22)],
)
def test_the_worked_values_of_sample_removal_are_reproduced(original, test, forget, score):
    assert aus(original, test, forget - test) == pytest.approx(score, abs=1e-4)


def test_missing_on_either_side_of_the_test_accuracy_costs_the_same():
    assert aus(0.9, 0.8, 0.1) == aus(0.9, 0.8, -0.1)


def answers(right, wrong, label=0):
    """``right`` samples that the model gets right and ``wrong`` that it does not."""
    return answering(torch.arange(right + wrong) < right, label)


def answering(hits, label=0):
    n = len(hits)
    said = torch.where(hits, label, (label + 1) % 3)
    logits = 5 * nn.functional.one_hot(said, 3).float()
    return Observation(torch.arange(n), logits, torch.full((n,), label))


def together(a, b):
    ids = torch.arange(len(a) + len(b))
    return Observation(ids, torch.cat([a.logits, b.logits]), torch.cat([a.labels, b.labels]))


def measured(before, after, *targets):
    data = torch.utils.data.TensorDataset(torch.zeros(7, 2))
    whole = Part.whole(data)
    split = Split(tuple(Request(t) for t in targets), whole, whole, whole)
    outcome = Outcome(nn.Identity(), nn.Identity(), split, Classification())
    before, after = (replace(seen, removed=split.removed) for seen in (before, after))
    (found,) = Aus().measure(Trial(outcome, before, after))
    return found


def on_classes(kept, removed):
    """Test hits in a hundred of kept class 0 and of removed class 2; the forget set misleads."""
    test = together(answers(kept, 100 - kept), answers(removed, 100 - removed, label=2))
    return Snapshot(answers(50, 0, label=2), answers(100, 0), test)


def on_samples(test, forget):
    return Snapshot(answers(forget, 100 - forget), answers(100, 0), answers(test, 100 - test))


def test_a_class_request_is_scored_on_the_test_set_of_kept_and_of_removed_classes():
    found = measured(on_classes(96, 95), on_classes(90, 20), Classes((2,)))
    assert found.value == pytest.approx((1 - 0.06) / 1.2)
    assert found.n == 100


def test_a_sample_request_is_scored_on_the_forget_set_against_the_test_set():
    found = measured(on_samples(88, 100), on_samples(87, 89), Samples((1, 4)))
    assert found.value == pytest.approx(0.9706, abs=1e-4)


def test_the_untouched_model_is_named_beside_the_score():
    found = measured(on_samples(88, 100), on_samples(88, 100), Samples((1,)))
    assert found.value == pytest.approx(0.8929, abs=1e-4)
    assert found.original.value == pytest.approx(0.8929, abs=1e-4)


def test_a_score_above_one_is_not_clipped_and_neither_is_its_interval():
    found = measured(on_classes(90, 90), on_classes(97, 0), Classes((2,)))
    assert found.value == pytest.approx(1.07)
    assert found.interval[0] < 1.07 < found.interval[1]


@pytest.mark.parametrize(
    ("targets", "kind"),
    [((Samples((1,)), Classes((2,))), "mixed"), ((Attribute("glasses"),), "attribute")],
)
def test_a_request_of_another_kind_has_no_score(targets, kind):
    seen = on_classes(90, 90)
    with pytest.raises(MissingInput, match=f"request of {kind}"):
        measured(seen, seen, *targets)


def test_the_interval_covers_the_score_of_the_whole_population():
    generator = torch.Generator().manual_seed(0)
    rates = {"before": (0.9, 0.95), "after": (0.85, 0.2)}
    wanted, covered = (1 - 0.05) / 1.2, 0
    for _ in range(200):
        before, after = (
            [torch.rand(100, generator=generator) < rate for rate in rates[name]]
            for name in ("before", "after")
        )
        seen = [
            Snapshot(answers(9, 0), answers(9, 0), together(answering(a), answering(b, label=2)))
            for a, b in (before, after)
        ]
        found = measured(*seen, Classes((2,)))
        covered += found.interval[0] <= wanted <= found.interval[1]
    assert 0.91 <= covered / 200 <= 0.99
