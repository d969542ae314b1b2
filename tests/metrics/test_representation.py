"""Features are compared whatever their axes are, layer by layer."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput, UnknownName
from expunge.metric import Trial
from expunge.metrics.representation import Representation
from expunge.observing import snapshot

N, TEST, D, H, C = 150, 30, 5, 6, 3
TASK = Classification()
FORGET, RETAIN = "representation CKA, forget", "representation CKA, retain"
APART = "representation distance (Procrustes), forget"


def data(n):
    draw = torch.Generator().manual_seed(n)
    x = torch.randn(n, D, generator=draw)
    return TensorDataset(x, torch.arange(n) % C)


def net(weights, bias=0.0):
    """Features are linear in the inputs, so that everything about them is known."""
    model = nn.Sequential(nn.Linear(D, H), nn.Linear(H, C))
    with torch.no_grad():
        model[0].weight.copy_(weights)
        model[0].bias.fill_(bias)
    return model


def random(seed):
    return torch.randn(H, D, generator=torch.Generator().manual_seed(seed))


def turned(weights):
    """The same features along other axes."""
    turn, _ = torch.linalg.qr(random(9) @ random(10).T)
    return turn @ weights


PLAIN = torch.eye(H)[:, :D]
ODD = torch.diag(torch.tensor([9.0, 1, 1, 1, 0.1, 1])) @ PLAIN


def measured(after, before, references, target=None, **settings):
    parts = split(data(N), Request(target or Samples(tuple(range(60)))), test=data(TEST))
    look = [snapshot(model, parts, TASK) for model in (before, after)]
    members = [
        Reference(lambda m=m: m, snapshot(m, parts, TASK), k, 1.0, "")
        for k, m in enumerate(references)
    ]
    trial = Trial(Outcome.of(before, after, parts, task=TASK), *look)
    if members:
        trial = Trial(trial.outcome, *look, References(tuple(members)))
    return {m.name: m for m in Representation(**settings).measure(trial)}


def test_the_same_features_along_other_axes_are_the_same():
    found = measured(net(2.5 * turned(PLAIN), bias=3.0), net(ODD), [net(PLAIN)])
    assert found[FORGET].value == pytest.approx(1)
    assert found[RETAIN].value == pytest.approx(1)
    assert found[APART].value == pytest.approx(0, abs=1e-6)
    assert "the original's is 0." in found[FORGET].note
    assert found[FORGET].target == ()
    assert (found[FORGET].goal, found[APART].goal) == ("higher", "lower")


def test_beside_the_model_stand_the_original_and_the_references_among_themselves():
    found = measured(net(ODD), net(ODD), [net(PLAIN), net(turned(PLAIN)), net(ODD)])[FORGET]
    away = found.value
    assert 0.3 < away < 0.9
    assert found.original.value == away
    low, high = found.interval
    assert low < away < high
    assert found.target[0] == pytest.approx(found.target[1])
    assert found.target[2] < found.target[0] < 1


def test_layers_on_the_way_are_found_or_named():
    models = net(PLAIN), net(ODD), [net(PLAIN)]
    alone = measured(*models)
    assert {"representation CKA, forget, 0", "representation CKA, retain, 1"} <= {*alone}
    named = measured(*models, layers=("0",))
    assert named["representation CKA, forget, 0"].value == pytest.approx(named[FORGET].value)
    assert "representation CKA, forget, 1" not in named
    with pytest.raises(UnknownName, match="layer"):
        measured(*models, layers=("body",))


def test_the_profile_goes_from_the_inputs_on():
    shown = measured(net(PLAIN), net(ODD), [net(PLAIN), net(ODD)])[FORGET].exhibit.columns
    assert shown["layer"] == ["0"] * 3 + ["1"] * 3 + ["feature layer"] * 3
    assert shown["model"] == ["original", "unlearned", "retrained"] * 3
    assert shown["CKA"][1] == pytest.approx((1 + shown["CKA"][2]) / 2)


def along(first, others):
    """Features that are large along one axis."""
    return net(torch.diag(torch.tensor([first, *[others] * 5])) @ PLAIN)


def test_indices_that_disagree_are_said():
    """One large axis carries CKA; the distance sees that all others are gone."""
    found = measured(along(9.0, 0.01), along(1.8, 1.0), [along(3.0, 1.0)])
    original = float(found[FORGET].note.split("the original's is ")[1].split(";")[0])
    assert found[FORGET].value > original
    assert all("disagree" in found[name].note for name in (FORGET, APART))
    agreeing = measured(along(2.9, 1.0), along(1.8, 1.0), [along(3.0, 1.0)])
    assert "disagree" not in agreeing[FORGET].note


def test_a_layer_that_not_every_model_has_is_said_and_the_others_are_compared():
    deep = nn.Sequential(nn.Linear(D, H), nn.Identity(), nn.Linear(H, C))
    models = nn.Sequential(net(PLAIN)[0], nn.Linear(H, H), nn.Linear(H, C)), deep, [deep]
    found = measured(*models, layers=("0", "1"))
    assert found["representation CKA, forget, 0"].value is not None
    other = measured(net(PLAIN), models[0], [net(PLAIN)], layers=("2",))
    assert "no part in the passes" in other["representation CKA, forget, 2"].note


def test_features_that_never_vary_are_said():
    found = measured(net(0 * PLAIN), net(PLAIN), [net(PLAIN)])
    assert "says the same of all samples" in found[FORGET].note
    assert found[FORGET].value is None


def test_few_samples_are_said_and_the_rest_is_compared():
    found = measured(net(PLAIN), net(ODD), [net(PLAIN)], target=Samples((1, 2, 3)))
    assert "3 samples are too few" in found[FORGET].note
    assert found[RETAIN].value == pytest.approx(1)
    assert found[RETAIN].n == N - 3


def test_a_class_can_leave_and_rows_bound_what_is_looked_at():
    found = measured(net(PLAIN), net(ODD), [net(PLAIN)], target=Classes((1,)), rows=40)
    assert (found[FORGET].n, found[RETAIN].n) == (40, 40)


def test_without_references_there_is_nothing_to_be_alike_to():
    with pytest.raises(MissingInput, match="no reference model"):
        measured(net(PLAIN), net(ODD), [])
