"""LEACE: what no affine probe can read any more, what survives, and what is refused."""

import json

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Regression, Request, Samples, split
from expunge.algebra.information import Prior
from expunge.errors import (
    BadSetting,
    BatchUnreadable,
    MissingInput,
    ModelDoesNotFit,
    RequestDoesNotFit,
    TargetMismatch,
)
from expunge.methods.leace import Leace
from expunge.unlearning import seeded, unlearn

N, D, H, C, K = 310, 7, 13, 2, 3
NOTHING = {"condition_on": "nothing"}


def drawn(seed=0):
    """A class goes with the group, and inputs tell both."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(K, (N,), generator=generator)
    y = ((z + torch.randint(4, (N,), generator=generator)) > 2).long()
    x = torch.randn(N, D, generator=generator).double()
    x[:, :K] += 2 * F.one_hot(z, K)
    x[:, D - 1] += 4 * y
    return x, y, z


def network(width=H):
    with seeded(0):
        return nn.Sequential(nn.Linear(D, width), nn.Tanh(), nn.Linear(width, C)).double()


def task(**attributes):
    given = {name: lambda batch, at=at: batch[at] for name, at in attributes.items()}
    return Classification(attributes=given or {"hat": lambda batch: batch[2]})


def outcome(*answers, labels=None, model=None, names=("hat",), data=None, **settings):
    x, y, z = drawn()
    told = answers or (z,)
    data = data or TensorDataset(x, y if labels is None else labels, *told)
    parts = split(data, *(Request(Attribute(name)) for name in names), test=data)
    reading = task(**{name: 2 + place for place, name in enumerate(names)})
    return unlearn(model or network(), parts, Leace(**settings), task=reading)


def features(model, reading=None):
    with torch.no_grad():
        return (reading or task()).answer(model, drawn()).embedding


def logistic(x, z):
    rows = ((x - x.mean(0)) / x.std(0)).numpy()
    fitted = LogisticRegression(C=1e2, tol=1e-10, max_iter=5000).fit(rows, z.numpy())
    return F.nll_loss(torch.from_numpy(fitted.predict_proba(rows)).log(), z.long()).item()


def entropy(z):
    return Prior.of(z, z * 0, groups=K).entropy


def covariance(x, z):
    return ((x - x.mean(0)).T @ (z - z.mean(0)) / len(x)).abs().max()


def accuracy(model):
    x, y, _ = drawn()
    with torch.no_grad():
        return (model(x).argmax(1) == y).double().mean().item()


# What is promised


def test_inside_each_class_no_affine_probe_of_the_features_beats_the_frequencies():
    found, (_, y, z) = outcome(), drawn()
    before, after = features(found.before), features(found.after)
    for mine in (y == 0, y == 1):
        assert logistic(before[mine], z[mine]) < entropy(z[mine]) - 0.2
        assert logistic(after[mine], z[mine]) == pytest.approx(entropy(z[mine]), abs=1e-6)


def test_what_the_class_tells_stays_unless_nothing_is_conditioned_on():
    _, _, z = drawn()
    inside, over = features(outcome().after), features(outcome(**NOTHING).after)
    assert logistic(inside, z) < entropy(z) - 0.05
    assert logistic(over, z) == pytest.approx(entropy(z), abs=1e-6)


def test_an_attribute_coded_by_a_parity_survives():
    """And one column tells the attribute by its mean, so that there is something to remove."""
    x, y, _ = drawn()
    signs = torch.randint(2, (N, 2), generator=torch.Generator().manual_seed(1))
    z = signs.sum(1) % 2
    x[:, :2], x[:, 4] = 2.0 * signs - 1, x[:, 4] + 3 * z
    data = TensorDataset(x, y, z)
    found = outcome(data=data, model=identity(), refit=False)
    with torch.no_grad():
        after = task().answer(found.after, data.tensors).embedding
    for k in range(C):
        assert covariance(x[y == k], F.one_hot(z[y == k]).double()) > 0.5
        assert covariance(after[y == k], F.one_hot(z[y == k]).double()) < 1e-12
    odd = after[:, 0] * after[:, 1] < 0
    assert (odd.long() == z).double().mean() > 0.9


def test_a_number_goes_like_a_group():
    x, y, _ = drawn()
    age = 40 + 9 * x[:, 0] + x[:, 1] ** 2
    found = outcome(age)
    after = features(found.after)
    assert max(covariance(after[y == k], age[y == k, None]) for k in range(C)) < 1e-9
    assert found.notes[0].startswith(f"{C} directions were removed")


def test_several_attributes_go_at_once():
    (x, y, z), generator = drawn(), torch.Generator().manual_seed(2)
    age = x[:, 3] + torch.randn(N, generator=generator)
    found = outcome(z, age, names=("hat", "age"))
    told = torch.cat([F.one_hot(z, K), age[:, None]], 1)
    after = features(found.after)
    assert max(covariance(after[y == k], told[y == k]) for k in range(C)) < 1e-12
    assert found.notes[0].startswith(f"{C * K} directions were removed")


def test_samples_without_an_answer_are_left_out_and_counted():
    _, y, z = drawn()
    some = torch.where(torch.arange(N) % 3 == 0, -1, z)
    found = outcome(some)
    after, seen = features(found.after), some >= 0
    for k in range(C):
        mine = seen & (y == k)
        assert covariance(after[mine], F.one_hot(z[mine], K).double()) < 1e-12
    assert "104 of 310 samples have no answer" in found.notes[1]


def test_missing_numbers_are_left_out_too():
    x, y, _ = drawn()
    age = torch.where(torch.arange(N) % 5 == 0, torch.nan, x[:, 0])
    after, seen = features(outcome(age).after), ~age.isnan()
    for k in range(C):
        mine = seen & (y == k)
        assert covariance(after[mine], age[mine, None]) < 1e-12


def test_names_of_groups_do_not_matter():
    _, _, z = drawn()
    years = torch.tensor([1994, 7, 2026])[z]
    plain, named = (features(outcome(answers).after) for answers in (z, years))
    torch.testing.assert_close(plain, named)


def test_yes_and_no_are_groups():
    _, _, z = drawn()
    torch.testing.assert_close(
        features(outcome(z > 0).after), features(outcome((z > 0).int()).after)
    )


# Features that hardly vary


def identity():
    with seeded(0):
        return nn.Sequential(nn.Identity(), nn.Linear(D, C)).double()


def scaled(x):
    """As a probe reads that scales whatever varies at all."""
    apart = x - x.mean(0)
    return apart / apart.std(0).where(apart.std(0) > 0, 1.0)


@pytest.mark.parametrize("rare", [0, 20])
def test_a_feature_that_never_varies_gets_no_trace_of_the_attribute(rare):
    x, y, z = drawn()
    x[:, 4] = 0
    x[:, 5] = 0.1
    data = TensorDataset(x, y, z)
    after = outcome(data=data, model=identity(), rare=rare).after[1].before(x)
    assert (after[:, 4:6] == x[:, 4:6]).all()
    for k in range(C):
        mine = scaled(after[y == k])
        assert covariance(mine, F.one_hot(z[y == k], K).double()) < 1e-12


def test_a_feature_that_never_varies_inside_classes_gets_none_either():
    x, y, z = drawn()
    x[:, 4] = y
    after = outcome(data=TensorDataset(x, y, z), model=identity()).after[1].before(x)
    assert torch.equal(after[:, 4], y.double())


def test_a_feature_that_a_few_samples_make_vary_would_show_the_attribute_in_all_others():
    x, y, z = drawn()
    x[:, 4] = 0
    few = (z == 0).nonzero()[:5, 0]
    x[few, 4] = 0.1
    others = torch.ones(N, dtype=torch.bool)
    others[few] = False
    data = TensorDataset(x, y, z)
    shown = outcome(data=data, model=identity(), rare=0, **NOTHING).after[1].before(x)
    both = torch.stack([shown[others, 4], (z[others] == 0).double()])
    assert torch.corrcoef(both)[0, 1].abs() > 0.6
    found = outcome(data=data, model=identity(), rare=6, **NOTHING)
    torch.testing.assert_close(found.after[1].before(x)[:, 4], x[:, 4].mean().expand(N))
    assert found.notes[1].endswith("in too few samples, and are held at their means: 1")
    kept = outcome(data=data, model=identity(), rare=3, **NOTHING)
    assert "held" not in kept.notes[1]


# The head


def test_a_head_fitted_again_wins_the_task_back():
    model = outcome().before
    with torch.no_grad():  # answers lean on the attribute: they are bound to suffer
        model[2].weight.zero_()
        model[2].weight[1] = features(model).T @ (drawn()[2] > 0).double() / N
    plain, fitted = (outcome(model=model, refit=refit) for refit in (False, True))
    assert accuracy(plain.after) < 0.85
    assert accuracy(fitted.after) > 0.93
    assert torch.equal(plain.after[2].layer.weight, model[2].weight)
    assert "with the head fitted again" in fitted.notes[-1]
    assert "head" not in plain.notes[-1]


def test_a_stronger_penalty_makes_a_smaller_head():
    small, large = (outcome(l2=l2).after[2].layer.weight.norm() for l2 in (1.0, 1e-4))
    assert small < 0.5 * large


# What is told


def test_the_notes_say_what_went_and_what_is_promised():
    notes = outcome().notes
    assert notes[0] == "4 directions were removed right before the layer '2', and 9 are left"
    assert notes[1] == "'hat' is 3 groups in each of 2 classes; 0 of 310 samples have no answer"
    assert notes[2].startswith("promised: inside each of 2 classes, no affine probe")
    assert notes[3].startswith("not promised: probes that are not affine, other layers")
    assert "over all samples" in outcome(**NOTHING).notes[2]


def test_where_the_label_tells_all_nothing_is_changed_and_that_is_told():
    found = outcome(drawn()[1])
    assert found.notes[-1].startswith("nothing was changed")
    assert found.after.state_dict().keys() == found.before.state_dict().keys()


def test_a_task_of_one_class_is_served():
    found = outcome(labels=torch.zeros(N, dtype=torch.long))
    _, _, z = drawn()
    assert covariance(features(found.after), F.one_hot(z, K).double()) < 1e-12
    assert found.notes[2].startswith("promised: over all samples")


def test_progress_is_told_in_passes_over_the_retain_set():
    heard = []
    x, y, z = drawn()
    data = TensorDataset(x, y, z)
    parts = split(data, Request(Attribute("hat")), test=data)
    unlearn(network(), parts, Leace(), task=task(), progress=lambda *told: heard.append(told))
    assert heard == [("unlearn", 1, 1)]


def test_settings_are_json():
    assert json.dumps(Leace().describe(), sort_keys=True) == (
        '{"condition_on": "task", "l2": 0.001, "rare": 20, "refit": true, "views": null}'
    )


# What is refused


@pytest.mark.parametrize(
    ("answers", "fact"),
    [
        (torch.ones(N, dtype=torch.long), "'hat' is 1 for every retained sample"),
        (torch.full((N,), 0.5), "'hat' is 0.5 for every retained sample"),
        (torch.full((N,), -1), "no retained sample answers"),
        (torch.full((N,), torch.nan), "no retained sample answers"),
        (torch.arange(N).double().log(), "'hat' is infinite"),
    ],
    ids=["one group", "one number", "nobody", "no number", "infinite"],
)
def test_attributes_that_cannot_be_taken_out_are_refused(answers, fact):
    with pytest.raises(RequestDoesNotFit, match=fact) as why:
        outcome(answers)
    assert why.value.hint


def test_to_remove_the_label_by_another_name_is_to_remove_the_task():
    y = drawn()[1]
    for same in (y, 1 - y, 5 + 2 * y, y.double(), torch.where(torch.arange(N) % 2 == 0, -1, y)):
        with pytest.raises(RequestDoesNotFit, match="removing it removes the task"):
            outcome(same, **NOTHING)
    assert outcome(drawn()[2], **NOTHING).notes


def test_a_number_that_is_the_target_of_a_regression_is_refused_in_any_unit():
    x, _, _ = drawn()
    data = TensorDataset(x, x[:, :1], 3 - 2 * x[:, 0])
    parts = split(data, Request(Attribute("hat")), test=data)
    with seeded(0):
        model = nn.Sequential(nn.Linear(D, H), nn.Linear(H, 1)).double()
    reading = Regression(attributes={"hat": lambda batch: batch[2]})
    with pytest.raises(RequestDoesNotFit, match="removing it removes the task"):
        unlearn(model, parts, Leace(), task=reading)


def test_attributes_that_would_take_all_features_are_refused():
    with pytest.raises(ModelDoesNotFit, match="leave nothing of the features right before"):
        outcome(model=network(width=4))
    assert outcome(model=network(width=5)).notes[0].endswith("and 1 are left")


@pytest.mark.parametrize("width", [1, K])
def test_answers_are_one_a_sample_whatever_their_shape(width):
    class Reading(Classification):
        def attribute(self, batch, name, /):
            return {"hat": batch[2]}[name]

    x, y, z = drawn()
    data = TensorDataset(x, y, z[:, None].expand(N, width))
    parts = split(data, Request(Attribute("hat")), test=data)
    if width == 1:
        torch.testing.assert_close(
            features(unlearn(network(), parts, Leace(), task=Reading()).after),
            features(outcome().after),
        )
        return
    with pytest.raises(BatchUnreadable, match="not one answer a sample"):
        unlearn(network(), parts, Leace(), task=Reading())


def test_labels_that_name_no_class_are_refused():
    with pytest.raises(BatchUnreadable, match="the least is -1"):
        outcome(labels=drawn()[1] - 1)


def test_an_attribute_that_the_task_cannot_read_is_refused():
    x, y, z = drawn()
    data = TensorDataset(x, y, z)
    parts = split(data, Request(Attribute("hat")), test=data)
    with pytest.raises(MissingInput, match="cannot read the attribute 'hat'"):
        unlearn(network(), parts, Leace(), task=Classification())


def test_samples_are_not_what_it_removes():
    data = TensorDataset(*drawn())
    parts = split(data, Request(Samples((1,))), test=data)
    with pytest.raises(TargetMismatch, match="Leace removes Attribute"):
        unlearn(network(), parts, Leace(), task=task())


def test_a_penalty_below_zero_is_refused():
    with pytest.raises(BadSetting, match="l2"):
        outcome(l2=-1.0)


def test_what_is_erased_is_what_views_of_the_samples_show():
    x, y, z = drawn()
    model = outcome(views=lambda batch: (-batch[0], *batch[1:]), rare=0).after
    with torch.no_grad():
        seen, plain = (task().answer(model, (way * x, y, z)).embedding for way in (-1, 1))
    for c in range(C):
        mine = y == c
        hat = F.one_hot(z[mine], K).double()
        assert covariance(seen[mine], hat) < 1e-9
        assert covariance(plain[mine], hat) > 1e-3
