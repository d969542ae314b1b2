"""Where features lie: distances that can be written down, and a map that undoes rotations."""

import sys
from math import cos, sin
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Request, Samples, audit, split
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.feature_space import FeatureSpace
from expunge.observing import Observation, Snapshot

OWN, OTHER, RIVAL = (
    "distance to own class (cosine)",
    "distance to nearest other class (cosine)",
    "distance to the original's nearest other class (cosine)",
)


def seen(ids, labels, x, *, features=True):
    labels = torch.tensor(labels)
    held = {"auto": x.float()} if features else {}
    return Observation(torch.tensor(ids), torch.zeros(len(labels), 3), labels, features=held)


def snapshot(forgotten, labels, removed=(), kept=None, *, features=True):
    """Forgotten features among kept ones that lie on the axes of their classes."""
    kept = torch.eye(3).repeat(4, 1) if kept is None else kept
    classes = [k for k in range(3) if k not in removed]
    rows = torch.cat([kept[k::3] for k in classes])
    stay = seen([*range(50, 50 + len(rows))], [k for k in classes for _ in kept[k::3]], rows,
                features=features)  # fmt: skip
    gone = seen([*range(len(forgotten))], labels, forgotten, features=features)
    return Snapshot(gone, stay, gone, removed)


def trial(before, after, references=(), target=None):
    data = TensorDataset(torch.randn(7, 4), torch.arange(7) % 3)
    parts = split(data, Request(target or Samples((1,))), test=data)
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3))
    members = [Reference(lambda: model, s, k, 1.0, "") for k, s in enumerate(references)]
    return Trial(
        Outcome.of(model, model, parts, task=Classification()),
        before,
        after,
        References(tuple(members)) if members else None,
    )


def measured(found, metric=None):
    return {m.name: m for m in (metric or FeatureSpace()).measure(found)}


def at(angle, towards=1):
    """A unit vector between the axis of class 0 and that of another class."""
    x = torch.zeros(1, 3)
    x[0, 0], x[0, towards] = cos(angle), sin(angle)
    return x


def test_distances_are_one_less_the_cosine_to_a_centroid():
    found = measured(trial(snapshot(at(0.3), [0]), snapshot(at(0.5), [0])))
    assert found[OWN].value == pytest.approx(1 - cos(0.5), abs=1e-6)
    assert found[OTHER].value == pytest.approx(1 - sin(0.5), abs=1e-6)
    assert found[OWN].interval is None  # one sample has no interval
    both = snapshot(torch.cat([at(0.3), at(0.7)]), [0, 0])
    found = measured(trial(both, both))
    assert found[OWN].value == pytest.approx(1 - (cos(0.3) + cos(0.7)) / 2, abs=1e-6)
    assert found[OWN].original.value == found[OWN].value


def test_the_rival_class_is_the_originals_wherever_the_sample_went():
    before, after = snapshot(at(0.3, towards=2), [0]), snapshot(at(0.5, towards=1), [0])
    found = measured(trial(before, after, [snapshot(at(0.2, towards=2), [0])]))
    assert found[OTHER].value == pytest.approx(1 - sin(0.5), abs=1e-6)
    assert found[RIVAL].value == pytest.approx(1, abs=1e-6)
    assert found[RIVAL].target == pytest.approx((1 - sin(0.2),), abs=1e-6)


def test_a_class_that_left_as_a_whole_has_the_mean_of_its_forgotten_samples():
    gone = torch.cat([at(0.2), at(-0.2)])
    found = measured(trial(snapshot(gone, [0, 0], (0,)), snapshot(gone, [0, 0], (0,))))
    assert found[OWN].value == pytest.approx(1 - cos(0.2), abs=1e-6)
    assert found[OTHER].value == pytest.approx(1, abs=0.01 + sin(0.2))


def test_centroids_are_each_models_own():
    turned = torch.eye(3)[[1, 2, 0]]
    before = snapshot(at(0.3), [0])
    after = snapshot(at(0.3) @ turned, [0], kept=torch.eye(3).repeat(4, 1) @ turned)
    for name, m in measured(trial(before, after)).items():
        assert m.value == pytest.approx(measured(trial(before, before))[name].value), name


def test_a_class_that_stays_together_is_told_from_one_that_dissolved():
    generator = torch.Generator().manual_seed(0)
    tight = torch.eye(3)[[0]] + 0.05 * torch.randn(8, 3, generator=generator)
    spread = torch.eye(3)[[1, 2] * 4] + 0.05 * torch.randn(8, 3, generator=generator)
    before, after = (snapshot(x, [0] * 8, (0,)) for x in (tight, spread))
    metric = FeatureSpace(neighbours=3)
    theirs = [snapshot(spread + 0.01 * k, [0] * 8, (0,)) for k in range(3)]
    hidden = measured(trial(before, before, theirs), metric)
    gone = measured(trial(before, after, theirs), metric)
    silhouette, neighbours = "silhouette of the forget set (cosine)", "neighbours of the same class"
    assert hidden[silhouette].value > 0.9
    assert gone[silhouette].value < 0
    assert hidden[neighbours].value == 1
    assert gone[neighbours].value < hidden[neighbours].value
    assert gone[silhouette].target[0] == gone[silhouette].value
    assert hidden[silhouette].comparison.outside
    assert gone[silhouette].comparison.difference.low <= 0
    assert gone[silhouette].control == hidden[silhouette].comparison
    assert "still lie closer" in hidden[silhouette].note
    assert not gone[silhouette].note


def test_intervals_stay_within_what_is_possible():
    mixed = torch.cat([at(0.0), at(0.1), at(0.8), at(1.5)])
    for m in measured(trial(snapshot(mixed, [0] * 4), snapshot(mixed, [0] * 4))).values():
        low, high = m.interval
        assert -1 <= low <= m.value <= high <= 2, m.name
    assert high <= 1  # the last one is a share


def test_without_features_the_fact_names_what_is_missing():
    blind = snapshot(at(0.3), [0], features=False)
    with pytest.raises(MissingInput, match="features are needed"):
        measured(trial(blind, blind))


def test_without_another_class_nothing_is_near_to_one():
    alone = snapshot(torch.cat([at(0.1), at(0.2)]), [0, 0])
    kept = alone.retain.only(alone.retain.labels == 0)
    lonely = Snapshot(alone.forget, kept, alone.test)
    with pytest.raises(MissingInput, match="no other class stays"):
        measured(trial(lonely, lonely))


def clouds(turn=None, n=400):
    """Kept and forgotten samples in five dimensions; a turned model says the same."""
    generator = torch.Generator().manual_seed(1)
    kept, gone = torch.randn(n, 5, generator=generator), torch.randn(n, 5, generator=generator) + 2
    if turn is not None:
        kept, gone = kept @ turn + 3, gone @ turn + 3
    labels = [k % 3 for k in range(n)]
    stay = seen([*range(1000, 1000 + n)], labels, kept)
    return Snapshot(seen([*range(n)], labels, gone), stay, stay)


def panels(exhibit):
    first, second, *_ = exhibit.columns
    found = {"original": [], "unlearned": []}
    for x, y, model in zip(exhibit.columns[first], exhibit.columns[second],
                           exhibit.columns["model"], strict=True):  # fmt: skip
        found[model].append((x, y))
    return torch.tensor(found["original"]), torch.tensor(found["unlearned"])


def the_map(found, metric=None):
    (exhibit,) = [m.exhibit for m in measured(found, metric).values() if m.exhibit]
    return exhibit


def test_a_rotation_and_a_shift_of_all_features_cannot_be_seen_on_the_map():
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(2))).Q
    there, here = panels(the_map(trial(clouds(), clouds(turn))))
    torch.testing.assert_close(here, there, atol=1e-3, rtol=0)
    assert there.std() > 0.5


def test_a_map_that_is_asked_to_tells_few_samples_by_their_positions_in_the_data():
    exhibit = the_map(trial(clouds(), clouds()), FeatureSpace(positions=True))
    columns = exhibit.columns
    assert {len(values) for values in columns.values()} == {600}
    for position, group in zip(columns["sample"], columns["samples"], strict=True):
        assert group == ("forgotten" if position < 400 else "kept")
    assert columns["sample"][:300] == columns["sample"][300:]  # the same ones, before and after
    positions = [p - 1000 if p >= 1000 else p for p in columns["sample"]]
    assert columns["class"] == [position % 3 for position in positions]


def test_a_map_names_nobody_unless_it_is_asked_to():
    exhibit = the_map(trial(clouds(), clouds()))
    assert "sample" not in exhibit.columns
    assert "class" in exhibit.columns


def test_a_map_of_so_few_that_each_would_be_told_about_is_not_shown():
    few = snapshot(torch.cat([at(0.1)] * 4), [0] * 4)
    assert not [m for m in measured(trial(few, few)).values() if m.exhibit]


def test_a_map_shows_forgotten_samples_that_moved():
    after = clouds()
    moved = seen(after.forget.ids.tolist(), after.forget.labels.tolist(),
                 after.forget.features["auto"] - 4)  # fmt: skip
    found = the_map(trial(clouds(), Snapshot(moved, after.retain, after.test)))
    there, here = panels(found)
    gone = torch.tensor([group == "forgotten" for group in found.columns["samples"][:300]])
    apart = (there - here).norm(dim=1)
    assert apart[gone].min() > 10 * apart[~gone].max()


def test_a_map_by_tsne_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("expunge.metrics.feature_space.find_spec", lambda _name: None)
    with pytest.raises(MissingInput, match=r"expunge\[tsne\]"):
        the_map(trial(clouds(), clouds()), FeatureSpace(map="tsne"))


def test_a_map_by_tsne_gives_both_models_to_the_package_at_once(monkeypatch):
    class Package:
        def __init__(self, **settings):
            assert settings["perplexity"] <= 30
            assert settings["random_state"] == 0

        def fit(self, x):
            assert x.shape[0] == 600
            return x[:, :2]

    monkeypatch.setattr("expunge.metrics.feature_space.find_spec", lambda _name: True)
    monkeypatch.setitem(sys.modules, "openTSNE", SimpleNamespace(TSNE=Package))
    exhibit = the_map(trial(clouds(), clouds()), FeatureSpace(map="tsne"))
    assert exhibit.x == "first t-SNE direction"


def test_an_audit_brings_the_features_by_itself():
    x, y = torch.randn(60, 6), torch.arange(60) % 4
    data = TensorDataset(x, y)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4))
    parts = split(data, Request(Classes((2,))), test=data)
    found = audit(Outcome.of(model, model, parts, task=Classification()), [FeatureSpace()])
    assert len(found.measurements) == 5
    assert all(m.value == pytest.approx(m.original.value) for m in found.measurements)


def test_a_layer_that_is_not_there_is_named_by_the_audit():
    data = TensorDataset(torch.randn(20, 6), torch.arange(20) % 4)
    model = nn.Linear(6, 4)
    outcome = Outcome.of(model, model, split(data, Request(Samples((2,))), test=data),
                         task=Classification(layer="body"))  # fmt: skip
    (found,) = audit(outcome, [FeatureSpace()]).measurements
    assert "no layer of the model is named 'body'" in found.note
