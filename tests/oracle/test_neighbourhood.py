"""Silhouettes, neighbours, rotations and principal directions against other people's code."""

import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

from expunge.algebra.geometry import principal, procrustes, purities, silhouettes
from expunge.algebra.sampling import drawn


def cloud(n=41, d=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator)


def groups(n=41, k=4):
    return torch.arange(n) % k


def test_silhouettes_without_visiting_pairs_are_those_of_all_pairs():
    x, group = cloud(), groups()
    group[0] = 4  # alone in its group
    want = silhouette_samples(x.double().numpy(), group.numpy(), metric="cosine")
    found = silhouettes(x, group, 7)  # two groups are empty
    torch.testing.assert_close(found, torch.from_numpy(want))
    assert found[0] == 0


def test_where_there_is_one_group_no_row_has_a_silhouette():
    assert silhouettes(cloud(), groups(k=1), 3).eq(0).all()


@pytest.mark.parametrize("k", [1, 7])
def test_purity_is_the_share_of_equal_labels_among_the_nearest(k):
    x, label = cloud(203), groups(203)
    near = NearestNeighbors(n_neighbors=k + 1, metric="cosine").fit(x.numpy())
    _, rows = near.kneighbors(x.numpy())
    want = (label[torch.from_numpy(rows[:, 1:])] == label[:, None]).double().mean(1)
    asked = torch.arange(200, -1, -1)
    torch.testing.assert_close(purities(x, label, asked, k), want[asked])


def test_nobody_is_a_neighbour_of_itself_even_if_neighbours_run_out():
    label = torch.tensor([0, 1, 1])
    assert purities(cloud(3), label, torch.arange(3), 99).tolist() == [0.0, 0.5, 0.5]


def test_procrustes_finds_the_rotation_that_was_made():
    x = cloud()
    rotation = torch.linalg.qr(cloud(6, 6, seed=1)).Q.double()
    torch.testing.assert_close(procrustes(x, x.double() @ rotation), rotation, atol=1e-5, rtol=0)


def test_procrustes_is_the_best_rotation_of_any_two_clouds():
    x, y = cloud(), cloud(seed=1)
    want, _ = orthogonal_procrustes(x.double().numpy(), y.double().numpy())
    torch.testing.assert_close(procrustes(x, y), torch.from_numpy(want))


@pytest.mark.parametrize("n", [41, 5])
def test_principal_directions_are_those_of_pca(n):
    x = cloud(n) + 3
    found = principal(x, 3)
    want = torch.from_numpy(PCA(3).fit(x.double().numpy()).components_.T)
    torch.testing.assert_close(found.abs(), want.abs())
    torch.testing.assert_close(found.T @ found, torch.eye(3, dtype=torch.double))


def test_the_largest_part_of_a_direction_is_positive():
    for seed in range(5):
        found = principal(cloud(seed=seed), 4)
        assert found.gather(0, found.abs().argmax(0, keepdim=True)).gt(0).all()


def test_no_more_directions_are_given_than_there_are():
    assert principal(cloud(4, 9), 8).shape == (9, 3)


def test_which_rows_are_drawn_depends_on_their_ids_alone():
    ids = torch.randperm(97, generator=torch.Generator().manual_seed(3)) * 5
    first, again = ids[drawn(ids, 20)], ids.flip(0)[drawn(ids.flip(0), 20)]
    assert first.tolist() == again.tolist()
    assert len(set(first.tolist())) == 20
    assert sorted(ids[drawn(ids, 200)].tolist()) == sorted(ids.tolist())
