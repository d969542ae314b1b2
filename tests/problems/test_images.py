"""Pictures: kept as bytes, decoded once, moved and mirrored a batch at a time."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from expunge.batching import Batches, is_resident
from expunge.errors import MissingInput
from expunge.problems import images
from expunge.problems.cifar10 import cifar10
from expunge.problems.digits import digits
from expunge.problems.images import CropAndFlip, Images, archive, decoded, mirrored
from expunge.problems.networks import resnet18, small_cnn
from expunge.splitting import Part
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


def test_encoded_pictures_come_back_bit_by_bit_and_are_decoded_once(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setenv("EXPUNGE_CACHE", str(tmp_path / "cache"))
    rows = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    blobs = []
    for strip in (rows[:4], rows[4:]):
        file = io.BytesIO()
        image.fromarray(strip.reshape(-1, 8, 3)).save(file, "PNG")
        blobs.append(np.frombuffer(file.getvalue(), dtype=np.uint8))
    path = tmp_path / "some.npz"
    np.savez(
        path,
        x_blob=np.concatenate(blobs),
        x_offsets=np.cumsum([0, *map(len, blobs)]),
        image_shape=np.array([8, 8, 3]),
    )
    once = decoded(path, "x")
    assert torch.equal(once, torch.from_numpy(rows.transpose(0, 3, 1, 2).copy()))
    monkeypatch.setattr(images, "_decoded", lambda *_: pytest.fail("decoded a second time"))
    assert torch.equal(decoded(path, "x"), once)


def test_missing_data_say_what_is_missing_and_where_it_is_published(tmp_path, monkeypatch):
    with pytest.raises(MissingInput, match="does not exist") as caught:
        cifar10(data=tmp_path)
    assert "https://www.cs.toronto.edu" in str(caught.value)
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    with pytest.raises(MissingInput, match="no data folder"):
        archive(None, "cifar10/cifar10.npz", "somewhere")


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
    ],
)
def test_networks_answer_one_logit_a_class(network, shape, classes):
    assert network()(torch.randn(2, *shape)).shape == (2, classes)


def test_the_residual_network_of_width_sixteen_has_seven_hundred_thousand_parameters():
    count = sum(p.numel() for p in resnet18(width=16).parameters())
    assert 690_000 < count < 710_000


def test_half_of_a_batch_is_mirrored_and_all_else_stays():
    x, y = torch.arange(40 * 6).view(40, 1, 2, 3).float(), torch.arange(40)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seen, labels = mirrored((x, y))
    turned = (seen != x).flatten(1).any(1)
    assert 10 < turned.sum() < 30
    assert torch.equal(seen[turned], x[turned].flip(-1))
    assert torch.equal(labels, y)
