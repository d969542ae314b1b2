"""Where DUCK sends what must go: centroids, targets, and targets that cannot be."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Request, Samples, split, steering
from expunge.batching import Batches
from expunge.errors import TargetMismatch
from expunge.fitting import Fit
from expunge.method import Case
from expunge.methods.duck import Duck
from expunge.unlearning import seeded, unlearn

TASK = Classification()


@pytest.mark.parametrize("per_class", [0, 10_000])
def test_centroids_are_the_means_of_all_retained_embeddings(blobs, per_class):
    parts = blobs.split(Classes((1,)))
    case = blobs.case(parts)
    means = steering.centroids(blobs.model, case, per_class or len(parts.retain))
    x, y = (t[parts.retain.indices] for t in blobs.train.tensors)
    with torch.no_grad():
        features = blobs.model[:-1](x)
    for label in (0, 2):
        torch.testing.assert_close(means.values[label], features[y == label].mean(0))
    assert means.counts.tolist() == [200, 0, 200]


def test_the_pass_over_retained_samples_ends_once_every_class_has_enough(blobs):
    case = blobs.case(blobs.split(Classes((1,))))
    seen = 0

    class Counting(Classification):
        def answer(self, model, batch):
            nonlocal seen
            seen += len(batch[0])
            return super().answer(model, batch)

    big = replace(case, task=Counting())
    with seeded(0), pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering, "BATCH", 20)
        means = steering.centroids(blobs.model, big, 50)
    assert means.counts[[0, 2]].min() >= 50
    assert seen < 200


def test_a_rare_class_has_a_centroid_too():
    torch.manual_seed(0)
    x, y = torch.randn(2001, 4), torch.arange(2001) % 2
    y[-1] = 2
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    data = TensorDataset(x, y)
    parts = split(data, Request(Samples((0,))), test=data)
    case = Case(parts.targets, Batches(parts.forget), Batches(parts.retain), None, TASK)
    means = steering.centroids(model, case, 500)
    assert means.counts[2] == 1
    with torch.no_grad():
        torch.testing.assert_close(means.values[2], model[:-1](x[-1:])[0])


@pytest.mark.parametrize("removed", [0, 1, 2])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_a_sample_of_a_removed_class_goes_to_the_nearest_centroid_left(blobs, removed, distance):
    """Classes above the removed one keep their own number: the published code shifted them."""
    parts = blobs.split(Classes((removed,)))
    course = Duck(distance=distance, per_class=0)._plotted(blobs.model, blobs.case(parts))
    x, y = blobs.train.tensors
    with torch.no_grad():
        features = blobs.model[:-1](x)
    left = [k for k in range(3) if k != removed]
    centres = torch.stack([features[y == k].mean(0) for k in left])
    own = features[parts.forget.indices]
    if distance == "cosine":
        reach = 1 - F.cosine_similarity(own[:, None], centres[None], dim=2)
    else:
        reach = (own[:, None] - centres[None]).norm(dim=2)
    torch.testing.assert_close(course.points, centres[reach.argmin(1)], rtol=1e-4, atol=1e-5)


def test_a_single_sample_never_goes_to_its_own_class(blobs):
    parts = blobs.split(Samples(tuple(range(0, 600, 7))))
    course = Duck(per_class=0)._plotted(blobs.model, blobs.case(parts))
    x, y = blobs.train.tensors
    kept = parts.retain.indices
    with torch.no_grad():
        features = blobs.model[:-1](x)
    centres = torch.stack([features[kept][y[kept] == k].mean(0) for k in range(3)])
    sent = torch.cdist(course.points, centres).argmin(1)
    assert not (sent == y[parts.forget.indices]).any()


def test_forced_targets_are_obeyed(blobs):
    parts = blobs.split(Samples((0, 3, 6, 9)))  # all of class 0
    for targets in (2, {0: 2}):
        course = Duck(targets=targets, per_class=0)._plotted(blobs.model, blobs.case(parts))
        kept = parts.retain.indices
        x, y = (t[kept] for t in blobs.train.tensors)
        with torch.no_grad():
            centre = blobs.model[:-1](x[y == 2]).mean(0)
        torch.testing.assert_close(course.points, centre.expand(4, -1))


def test_mislabelled_samples_move_to_the_class_that_they_should_have_had(make_blobs):
    data = make_blobs()
    x, y = data.train.tensors
    wrong = tuple(range(0, 120, 3))  # of class 0, called 1
    y[list(wrong)] = 1
    with seeded(0):
        Fit(epochs=60, lr=0.1, batch=50)(data.model, data.train)
    parts = data.split(Samples(wrong))
    after = unlearn(data.model, parts, Duck(targets=0), task=TASK).after
    with torch.no_grad():
        assert (after(x[list(wrong)]).argmax(1) == 0).double().mean() >= 0.95


@pytest.mark.parametrize(
    ("target", "targets", "match"),
    [
        (Classes((1,)), 1, "which is their own"),
        (Classes((1,)), {1: 1}, "which is their own"),
        (Classes((1, 2)), 2, "no retained sample"),
        (Samples((0,)), 7, "no retained sample"),
        (Samples((0,)), {0: -1}, "no retained sample"),
    ],
)
def test_a_target_that_cannot_be_is_refused(blobs, target, targets, match):
    with pytest.raises(TargetMismatch, match=match):
        unlearn(blobs.model, blobs.split(target), Duck(targets=targets), task=TASK)


def test_where_one_class_is_all_there_is_nowhere_to_go(blobs):
    with pytest.raises(TargetMismatch, match="nowhere to move"):
        unlearn(blobs.model, blobs.split(Classes((0, 1)), Samples((2,))), Duck(), task=TASK)


def test_a_class_whose_retained_samples_all_left_is_no_target(blobs):
    everyone = tuple(i for i in range(600) if i % 3 == 2)
    parts = blobs.split(Samples(everyone), Samples((0,)), Classes((1,)))
    with pytest.raises(TargetMismatch, match="nowhere to move"):
        unlearn(blobs.model, parts, Duck(), task=TASK)
