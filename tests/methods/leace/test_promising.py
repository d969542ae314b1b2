"""What LEACE promises: no affine probe of the features reads the attribute any more."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

N, C, K = 310, 2, 3  # samples, classes and groups of the toy
NOTHING = {"condition_on": "nothing"}


def test_inside_each_class_no_affine_probe_of_the_features_beats_the_frequencies(toy):
    found, (_, y, z) = toy.outcome(), toy.drawn()
    before, after = toy.features(found.before), toy.features(found.after)
    for mine in (y == 0, y == 1):
        assert toy.logistic(before[mine], z[mine]) < toy.entropy(z[mine]) - 0.2
        assert toy.logistic(after[mine], z[mine]) == pytest.approx(toy.entropy(z[mine]), abs=1e-6)


def test_what_the_class_tells_stays_unless_nothing_is_conditioned_on(toy):
    _, _, z = toy.drawn()
    inside, over = toy.features(toy.outcome().after), toy.features(toy.outcome(**NOTHING).after)
    assert toy.logistic(inside, z) < toy.entropy(z) - 0.05
    assert toy.logistic(over, z) == pytest.approx(toy.entropy(z), abs=1e-6)


def test_an_attribute_coded_by_a_parity_survives(toy):
    """And one column tells the attribute by its mean, so that there is something to remove."""
    x, y, _ = toy.drawn()
    signs = torch.randint(2, (N, 2), generator=torch.Generator().manual_seed(1))
    z = signs.sum(1) % 2
    x[:, :2], x[:, 4] = 2.0 * signs - 1, x[:, 4] + 3 * z
    data = TensorDataset(x, y, z)
    found = toy.outcome(data=data, model=toy.identity(), refit=False)
    with torch.no_grad():
        after = toy.task().answer(found.after, data.tensors).embedding
    for k in range(C):
        assert toy.covariance(x[y == k], F.one_hot(z[y == k]).double()) > 0.5
        assert toy.covariance(after[y == k], F.one_hot(z[y == k]).double()) < 1e-12
    odd = after[:, 0] * after[:, 1] < 0
    assert (odd.long() == z).double().mean() > 0.9


def test_a_number_goes_like_a_group(toy):
    x, y, _ = toy.drawn()
    age = 40 + 9 * x[:, 0] + x[:, 1] ** 2
    found = toy.outcome(age)
    after = toy.features(found.after)
    assert max(toy.covariance(after[y == k], age[y == k, None]) for k in range(C)) < 1e-9
    assert found.notes[0].startswith(f"{C} directions were removed")


def test_several_attributes_go_at_once(toy):
    (x, y, z), generator = toy.drawn(), torch.Generator().manual_seed(2)
    age = x[:, 3] + torch.randn(N, generator=generator)
    found = toy.outcome(z, age, names=("hat", "age"))
    told = torch.cat([F.one_hot(z, K), age[:, None]], 1)
    after = toy.features(found.after)
    assert max(toy.covariance(after[y == k], told[y == k]) for k in range(C)) < 1e-12
    assert found.notes[0].startswith(f"{C * K} directions were removed")


def test_samples_without_an_answer_are_left_out_and_counted(toy):
    _, y, z = toy.drawn()
    some = torch.where(torch.arange(N) % 3 == 0, -1, z)
    found = toy.outcome(some)
    after, seen = toy.features(found.after), some >= 0
    for k in range(C):
        mine = seen & (y == k)
        assert toy.covariance(after[mine], F.one_hot(z[mine], K).double()) < 1e-12
    assert "104 of 310 samples have no answer" in found.notes[1]


def test_missing_numbers_are_left_out_too(toy):
    x, y, _ = toy.drawn()
    age = torch.where(torch.arange(N) % 5 == 0, torch.nan, x[:, 0])
    after, seen = toy.features(toy.outcome(age).after), ~age.isnan()
    for k in range(C):
        mine = seen & (y == k)
        assert toy.covariance(after[mine], age[mine, None]) < 1e-12


def test_names_of_groups_do_not_matter(toy):
    _, _, z = toy.drawn()
    years = torch.tensor([1994, 7, 2026])[z]
    plain, named = (toy.features(toy.outcome(answers).after) for answers in (z, years))
    torch.testing.assert_close(plain, named)


def test_yes_and_no_are_groups(toy):
    _, _, z = toy.drawn()
    torch.testing.assert_close(
        toy.features(toy.outcome(z > 0).after), toy.features(toy.outcome((z > 0).int()).after)
    )


def test_what_is_erased_is_what_views_of_the_samples_show(toy):
    x, y, z = toy.drawn()
    model = toy.outcome(views=lambda batch: (-batch[0], *batch[1:]), rare=0).after
    with torch.no_grad():
        seen, plain = (toy.task().answer(model, (way * x, y, z)).embedding for way in (-1, 1))
    for c in range(C):
        mine = y == c
        hat = F.one_hot(z[mine], K).double()
        assert toy.covariance(seen[mine], hat) < 1e-9
        assert toy.covariance(plain[mine], hat) > 1e-3
