"""Pictures: kept as bytes, decoded once, moved and mirrored a batch at a time."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from expunge.batching import Batches, is_resident
from expunge.problems.all_cnn import all_cnn
from expunge.problems.attention import vit
from expunge.problems.digits import digits
from expunge.problems.images import CropAndFlip, Images, mirrored
from expunge.problems.networks import resnet18, small_cnn
from expunge.splitting import Part
from expunge.tasks import Classification
from expunge.unlearning import seeded


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return Images(x, torch.arange(20) % 4, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def test_a_batch_is_normalised_channel_by_channel(pictures):
    x, y = pictures.prepare(*pictures.tensors)
    for channel in range(3):
        plain = pictures.pictures[:, channel].double() / 255
        wanted = (plain - pictures.mean[channel]) / pictures.deviation[channel]
        torch.testing.assert_close(x[:, channel].double(), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(y, pictures.labels)


def test_one_sample_is_what_a_batch_holds_in_its_place(pictures):
    assert is_resident(pictures)
    batch, _ = next(iter(Batches(Part.whole(pictures), 20)))
    torch.testing.assert_close(pictures[7][0], batch[7])


def test_every_crop_is_a_window_of_the_padded_picture_or_of_its_mirror():
    x = torch.rand(64, 3, 8, 8)
    with seeded(3):
        moved, labels = CropAndFlip(2)((x, torch.arange(64)))
    assert moved.shape == x.shape
    padded = F.pad(x, (2,) * 4)
    offsets, mirrored = set(), 0
    for i in range(64):
        found = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.equal(moved[i], _window(padded[i], top, left, flip=flip))
        ]
        assert len(found) == 1
        offsets.add(found[0][:2])
        mirrored += found[0][2]
    assert len(offsets) > 15
    assert 16 < mirrored < 48
    assert torch.equal(labels, torch.arange(64))


def _window(padded, top, left, *, flip):
    cut = padded[:, top : top + 8, left : left + 8]
    return cut.flip(2) if flip else cut


def test_a_trained_original_is_kept_and_never_trained_again(tmp_path, monkeypatch):
    problem = digits(epochs=2)
    first = problem.trained(1, tmp_path)
    monkeypatch.setattr(type(problem.recipe), "train", lambda *_: pytest.fail("trained again"))
    again = problem.trained(1, tmp_path)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_another_recipe_is_another_original(tmp_path):
    problem = digits(epochs=2)
    problem.trained(0, tmp_path)
    longer = replace(problem.recipe, fit=replace(problem.recipe.fit, epochs=3))
    replace(problem, recipe=longer).trained(0, tmp_path)
    assert len([*tmp_path.glob("*.safetensors")]) == 2


@pytest.mark.parametrize(
    ("network", "shape", "classes"),
    [
        (lambda: resnet18(width=16), (3, 32, 32), 10),
        (small_cnn, (1, 28, 28), 10),
        (lambda: small_cnn(depth=4, classes=38), (1, 96, 84), 38),
        (lambda: small_cnn(depth=2), (1, 8, 8), 10),
        (lambda: all_cnn(width=8), (3, 32, 32), 10),
        (lambda: vit(width=32, depth=2), (3, 32, 32), 10),
    ],
)
def test_networks_answer_one_logit_a_class(network, shape, classes):
    assert network()(torch.randn(2, *shape)).shape == (2, classes)


def test_the_residual_network_of_width_sixteen_has_seven_hundred_thousand_parameters():
    count = sum(p.numel() for p in resnet18(width=16).parameters())
    assert 690_000 < count < 710_000


@pytest.mark.parametrize("network", [lambda: all_cnn(width=8), lambda: vit(width=32, depth=2)])
def test_every_network_ends_in_one_linear_layer_upon_its_features(network):
    model = network().eval()
    x = torch.randn(4, 3, 32, 32)
    answer = Classification().answer(model, (x, torch.zeros(4, dtype=torch.long)))
    torch.testing.assert_close(model[-1](answer.embedding), answer.logits)


def test_a_transformer_knows_where_a_patch_was():
    with seeded(0):
        model = vit(width=32, depth=2).eval()
    x = torch.randn(2, 3, 32, 32)
    swapped = torch.cat([x[..., 4:8], x[..., :4], x[..., 8:]], -1)
    assert (model(x) - model(swapped)).abs().max() > 1e-4


def test_half_of_a_batch_is_mirrored_and_all_else_stays():
    x, y = torch.arange(40 * 6).view(40, 1, 2, 3).float(), torch.arange(40)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seen, labels = mirrored((x, y))
    turned = (seen != x).flatten(1).any(1)
    assert 10 < turned.sum() < 30
    assert torch.equal(seen[turned], x[turned].flip(-1))
    assert torch.equal(labels, y)
