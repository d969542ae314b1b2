"""An erasure in a model: where it goes, what it keeps, and where none could hold."""

import copy

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from expunge import Attribute, Classification, MultiLabel, Regression, Request, split
from expunge.algebra.erasure import Map
from expunge.erasing import restored
from expunge.erasing.inserting import ErasedInput, ErasedOutput, Erasure
from expunge.erasing.refitting import mean_loss, refitted
from expunge.erasing.tallying import Tally
from expunge.errors import Diverged, ModelDoesNotFit
from expunge.methods.leace import Leace
from expunge.unlearning import seeded, unlearn

N, D, H, C, K = 230, 6, 12, 2, 3


def drawn(seed=0):
    """Inputs that tell a group of three and, along other axes, a class of two."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(K, (N,), generator=generator)
    y = torch.randint(C, (N,), generator=generator)
    x = torch.randn(N, D, generator=generator)
    x[:, :K] += 2 * F.one_hot(z, K)
    x[:, D - 1] += 3 * y
    return x, y, z


def reading(kind=Classification, **given):
    return kind(attributes={"hat": lambda batch: batch[2]}, **given)


def built(model, *, seed=0):
    with seeded(seed):
        return model().eval()


def network():
    return nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, C))


def nested():
    return nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Sequential(nn.Linear(H, C)))


def lone():
    return nn.Linear(D, C)


def erased(model, task=None, data=None, method=None):
    data = TensorDataset(*drawn()) if data is None else data
    parts = split(data, Request(Attribute("hat")), test=data)
    return unlearn(model, parts, method or Leace(), task=task or reading())


def features(model, task, data=None):
    batch = drawn() if data is None else data
    with torch.no_grad():
        return task.answer(model, batch).embedding


def told(x, z, flat=1e-4):
    """The share of an attribute that a line finds in features; directions of rounding are none."""
    x, z = x.double() - x.double().mean(0), z.double() - z.double().mean(0)
    axes, sizes, _ = torch.linalg.svd(x, full_matrices=False)
    axes = axes[:, sizes > flat * sizes[0]]
    return ((axes.T @ z).square().sum() / z.square().sum()).item()


def told_inside(x, y, z, flat=1e-4):
    return max(told(x[y == k], F.one_hot(z[y == k], K), flat) for k in range(C))


def rank(layer):
    erasure = layer.before if isinstance(layer, ErasedInput) else layer.after
    return int(torch.linalg.matrix_rank(erasure.matrix, rtol=1e-9))


class Named(Dataset):
    """Samples that are mappings."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        x, y, z = drawn()
        return {"left": x[index, :4], "right": x[index, 4:], "label": y[index], "hat": z[index]}


class Joining(nn.Module):
    """Reads two inputs by name."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 7), nn.Linear(2, 5), nn.Linear(H, C)

    def forward(self, left, right):
        joined = torch.cat([self.left(left), self.right(right)], 1)
        return {"logits": self.head(joined.tanh())}


class Convolving(nn.Module):
    """Reads rows of six as pictures of two by three."""

    def __init__(self, pool=2):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(pool)
        )
        self.head = nn.Linear(4 * pool**2, C)

    def forward(self, x):
        return self.head(self.body(x.view(-1, 1, 2, 3)).flatten(1))


# Where it goes


def test_by_itself_it_stands_before_the_last_linear_layer_and_is_read_there():
    model = built(network)
    after = erased(model).after
    assert isinstance(after[2], ErasedInput)
    assert [*dict(after.named_parameters())] == [
        "0.weight", "0.bias", "2.layer.weight", "2.layer.bias",
    ]  # fmt: skip
    assert [*dict(after.named_buffers())] == ["2.before.matrix", "2.before.bias"]
    before, found = (features(m, reading()) for m in (model, after))
    torch.testing.assert_close(found, after[2].before.map(before))
    assert told_inside(before, *drawn()[1:]) > 0.3
    assert told_inside(found, *drawn()[1:]) < 1e-6


@pytest.mark.parametrize("layer", ["0", "1"])
def test_a_named_layer_is_erased_right_after_it(layer):
    task = reading(layer=layer)
    after = erased(built(network), task).after
    assert isinstance(after.get_submodule(layer), ErasedOutput)
    assert told_inside(features(after, task), *drawn()[1:]) < 1e-6


def test_the_head_of_a_convolutional_network_reads_erased_features():
    after = erased(built(Convolving)).after
    assert isinstance(after.head, ErasedInput)
    assert told_inside(features(after, reading()), *drawn()[1:]) < 1e-6


def test_feature_maps_are_erased_as_a_whole():
    model, task = built(Convolving), reading(layer="body.3")
    outcome = erased(model, task)
    assert outcome.after.body[3](torch.zeros(5, 4, 3, 4)).shape == (5, 4, 2, 2)
    assert told_inside(features(outcome.after, task), *drawn()[1:]) < 1e-6
    assert outcome.after.body[3].after.matrix.shape == (16, 16)
    assert "with the head fitted again" in outcome.notes[-1]  # the head reads these very features


def test_batches_may_be_mappings():
    task = Classification(
        inputs=lambda batch: {name: batch[name] for name in ("left", "right")},
        labels=lambda batch: batch["label"],
        attributes={"hat": lambda batch: batch["hat"]},
    )
    outcome = erased(built(Joining), task, Named())
    x, y, z = drawn()
    batch = {"left": x[:, :4], "right": x[:, 4:], "label": y, "hat": z}
    assert told_inside(features(outcome.before, task, batch), y, z) > 0.3
    assert told_inside(features(outcome.after, task, batch), y, z) < 1e-6


def test_a_model_that_is_its_own_head_comes_back_with_an_erasure_before_it():
    after = erased(built(lone)).after
    assert isinstance(after, ErasedInput)
    assert told_inside(features(after, reading()), *drawn()[1:]) < 1e-6


class Twice(nn.Module):
    """Knows its head by two names."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(D, H), nn.Linear(H, C)
        self.also = self.head

    def forward(self, x):
        return self.also(self.body(x))


def test_a_layer_with_two_names_is_erased_under_both():
    after = erased(built(Twice)).after
    assert after.head is after.also
    assert isinstance(after.head, ErasedInput)


def test_heads_that_share_their_weight_are_fitted_apart():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(H, D, bias=False), nn.Linear(D, H, bias=False)
            self.head.weight = nn.Parameter(self.body.weight.T.contiguous())
            self.first = nn.Linear(D, H, bias=False)
            self.first.weight = self.head.weight

        def forward(self, x):
            return self.head(self.body(self.first(x).relu()).tanh())

    model = built(Tied)
    after = erased(model).after
    assert torch.equal(after.first.weight, model.first.weight)
    assert not torch.equal(after.head.layer.weight, model.first.weight)


# What it keeps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_features_of_any_precision_come_back_in_it_and_are_erased(dtype):
    x, y, z = drawn()
    model, data = built(network).to(dtype), TensorDataset(x.to(dtype), y, z)
    after = erased(model, data=data).after
    found = features(after, reading(), (x.to(dtype), y, z))
    assert found.dtype == dtype
    assert after(x.to(dtype)).dtype == dtype
    assert after[2].before.matrix.dtype == torch.double
    coarse = 10 * torch.finfo(dtype).eps
    assert told_inside(found, y, z, flat=max(coarse, 1e-4)) < 1e-6 + coarse


def test_double_precision_leaves_nothing_that_a_probe_could_blow_up():
    x, y, z = drawn()
    data = TensorDataset(x.double(), y, z)
    after = erased(built(network).double(), data=data).after
    found = features(after, reading(), data.tensors)
    for k in range(C):
        rows, answers = found[y == k] - found[y == k].mean(0), F.one_hot(z[y == k], K).double()
        assert (rows.T @ (answers - answers.mean(0)) / len(rows)).abs().max() < 1e-14


def test_a_model_cast_after_its_erasure_still_runs():
    after = erased(built(network)).after
    x = drawn()[0]
    want = after(x)
    torch.testing.assert_close(after.float()(x), want, atol=1e-5, rtol=1e-5)
    assert after.half()(x.half()).dtype == torch.float16


def test_every_sample_passes_once_and_a_few_more_show_the_place():
    seen, modes = [], set()

    class Counting(nn.Linear):
        def forward(self, x):
            seen.append(len(x))
            modes.add((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    erased(built(lambda: nn.Sequential(Counting(D, H), nn.Tanh(), nn.Linear(H, C))))
    assert sum(seen) == N + 2 * 8
    assert modes == {(False, False)}


def test_the_original_is_untouched_and_another_run_gives_the_same_weights():
    model = built(network)
    kept, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first, again = erased(model).after, erased(model).after
    assert all(torch.equal(v, kept[name]) for name, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not any(m.training or m._forward_hooks for m in first.modules())


def test_a_frozen_head_stays_and_an_erasure_never_learns():
    model = built(network)
    model[2].requires_grad_(requires_grad=False)
    outcome = erased(model)
    assert outcome.notes[-1] == "the head stays: it is frozen"
    assert torch.equal(outcome.after[2].layer.weight, model[2].weight)
    assert not any(p.requires_grad for p in outcome.after[2].parameters())
    outcome.after(drawn()[0])[:, 0].sum().backward()
    assert outcome.after[0].weight.grad.abs().max() > 0


def test_a_second_erasure_composes_with_the_first_and_adds_no_layer():
    x, y, z = drawn()
    tall = x[:, 4] + 0.5 * torch.randn(N, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(x, y, z, tall)
    task = Classification(
        attributes={"hat": lambda batch: batch[2], "height": lambda batch: batch[3]}
    )
    model = built(network)
    for name in ("hat", "height"):
        parts = split(data, Request(Attribute(name)), test=data)
        model = unlearn(model, parts, Leace(), task=task).after
    assert sum(isinstance(m, Erasure) for m in model.modules()) == 1
    assert rank(model[2]) == H - C * (K - 1) - C
    found = features(model, task, data.tensors)
    assert told_inside(found, y, z) < 1e-6
    assert max(told(found[y == k], tall[y == k, None]) for k in range(C)) < 1e-6


def test_a_second_erasure_after_a_named_layer_composes_too():
    task, model = reading(layer="1"), built(network)
    first = erased(model, task, method=Leace(condition_on="nothing"))
    second = erased(first.after, task)
    assert sum(isinstance(m, Erasure) for m in second.after.modules()) == 1
    assert rank(first.after[1]) == H - (K - 1)
    assert rank(second.after[1]) < rank(first.after[1])
    assert f"{rank(second.after[1])} are left" in second.notes[0]
    assert told_inside(features(second.after, task), *drawn()[1:]) < 1e-6


@pytest.mark.parametrize("layer", ["1", "1.after"])
def test_to_erase_again_what_was_erased_takes_nothing_more(layer):
    task = reading(layer="1")
    once = erased(built(network), task).after
    again = erased(once, reading(layer=layer)).after
    assert rank(again[1]) == rank(once[1])
    torch.testing.assert_close(features(again, task), features(once, task), atol=1e-5, rtol=0)


# Loaded again


def twofold():
    """Erased before a layer that lies inside another, which is erased afterwards."""
    model, (wide, narrow) = built(nested), (torch.randn(d, d).double() for d in (H, C))
    head = ErasedInput(model[2][0], Erasure(Map(wide, wide[0]), wide.device))
    model[2][0] = head
    model[2] = ErasedOutput(model[2], Erasure(Map(narrow, narrow[0]), wide.device))
    return model


SAVED = {
    "before the head": (network, lambda: erased(built(network)).after),
    "after a layer": (network, lambda: erased(built(network), reading(layer="1")).after),
    "the whole model": (lone, lambda: erased(built(lone)).after),
    "under two names": (Twice, lambda: erased(built(Twice)).after),
    "one in another": (nested, twofold),
    "nothing": (network, lambda: built(network, seed=1)),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_fresh_model_is_restored_from_the_names_of_saved_weights(name):
    fresh, made = SAVED[name]
    saved = made()
    tensors, x = saved.state_dict(), drawn()[0]
    found = restored(built(fresh, seed=2), tensors)
    assert [*found.state_dict()] == [*tensors]
    found.load_state_dict(tensors)
    assert torch.equal(found(x), saved(x))


def test_names_that_a_model_has_itself_or_does_not_have_are_left_alone():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Module()
            self.before.matrix = nn.Parameter(torch.eye(2))

    matrix = torch.eye(2)
    for model, name in ((Own(), "before.matrix"), (network(), "7.after.matrix")):
        names = [*model.state_dict()]
        found = restored(model, {name: matrix, "after.matrix.bias": matrix})
        assert found is model
        assert [*found.state_dict()] == names


# Where none could hold


class Functional(nn.Module):
    """Has a head, and does not call it."""

    def __init__(self, *, also):
        super().__init__()
        self.body, self.head, self.also = nn.Linear(D, H), nn.Linear(H, C), also

    def forward(self, x):
        h = self.body(x).tanh()
        if self.also:
            return self.head(h) + F.linear(h, self.head.weight)
        return F.linear(h, self.head.weight)


class Reusing(nn.Module):
    """Calls one head on two views."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, H), nn.Linear(H, C)

    def forward(self, x):
        return self.head(self.body(x[:, :3]).tanh()) + self.head(self.body(x[:, 3:]).tanh())


class Gated(nn.Module):
    """Two layers read the features."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.gate = nn.Linear(D, H), nn.Linear(H, C), nn.Linear(H, 1)

    def forward(self, x):
        h = self.body(x).tanh()
        return self.head(h) * self.gate(h).sigmoid()


class Pairing(nn.Module):
    """Returns more than a tensor."""

    def forward(self, x):
        return x.tanh(), x


class Taking(nn.Module):
    """Takes the first of what a layer returns."""

    def __init__(self):
        super().__init__()
        self.body, self.pair, self.head = nn.Linear(D, H), Pairing(), nn.Linear(H, C)

    def forward(self, x):
        return self.head(self.pair(self.body(x))[0])


def overwriting():
    return nn.Sequential(nn.Linear(D, H), nn.ReLU(inplace=True), nn.Linear(H, C))


REFUSED = {
    "functional beside a call": (lambda: Functional(also=True), "auto", "more of its layer"),
    "reused": (Reusing, "auto", "'head' runs 2 times"),
    "reused below": (Reusing, "body", "'body' runs 2 times"),
    "two readers": (Gated, "auto", "read by 'head' and 'gate'"),
    "a tuple": (Taking, "pair", "'pair' returns a tuple"),
    "overwritten": (overwriting, "0", "not those that were erased"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_would_evade_the_erasure_is_refused_with_a_hint(name):
    build, layer, fact = REFUSED[name]
    with pytest.raises(ModelDoesNotFit, match=fact) as why:
        erased(built(build), reading(layer=layer))
    assert why.value.hint


def test_a_layer_that_several_readers_share_can_be_named_instead():
    class Naming(Gated):
        def __init__(self):
            super().__init__()
            self.squash = nn.Tanh()

        def forward(self, x):
            h = self.squash(self.body(x))
            return self.head(h) * self.gate(h).sigmoid()

    task = reading(layer="squash")
    outcome = erased(built(Naming), task)
    assert told_inside(features(outcome.after, task), *drawn()[1:]) < 1e-6
    assert outcome.notes[-1].startswith("the head stays")


def test_features_that_are_not_finite_are_refused():
    x, y, z = drawn()
    x[N // 2] = 1e30
    with pytest.raises(Diverged, match="features"):
        erased(built(network), data=TensorDataset(x * 1e9, y, z), task=reading(layer="0"))


def test_features_that_are_too_many_are_refused_before_they_are_summed_up():
    def wide():
        return nn.Sequential(nn.Linear(D, 8200), nn.Linear(8200, C))

    with pytest.raises(ModelDoesNotFit, match="8,200 numbers a sample"):
        erased(built(wide))


# Features that hardly vary


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_support_of_a_variance_is_the_number_of_samples_that_it_comes_from(offset):
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(4000, 5).double()
    x[:9, 0] = 3
    x[::2, 1] = -1
    x[:, 2] = torch.randn(4000, generator=generator)
    x[7, 3] = 1e-3
    tally = Tally()
    for rows in (x + offset).split(1100):
        tally.add(rows, torch.zeros(len(rows), 1), torch.zeros(len(rows), dtype=torch.long))
    want = torch.tensor([9, 4000, 4000 / 3, 1, 0]).double()
    torch.testing.assert_close(tally.support, want, rtol=0.1, atol=0.0)


# The head


@pytest.mark.parametrize("penalty", [1e-3, 0.3])
def test_a_head_fitted_again_is_logistic_regression(penalty):
    x, _, z = drawn()
    x = x.double() * torch.tensor([9.0, 1, 0.1, 1, 1, 1])
    found = refitted(x, z, "classification", outputs=K, penalty=penalty)
    scale = (x - x.mean(0)).square().mean()
    strength = 1 / (penalty * scale.item() * N)
    want = LogisticRegression(C=strength, tol=1e-12, max_iter=10000).fit(x.numpy(), z.numpy())
    answers = torch.from_numpy(want.predict_proba(x.numpy()))
    torch.testing.assert_close(found(x).softmax(1), answers, atol=1e-4, rtol=0)


def test_a_head_of_numbers_is_ridge_regression():
    x, y, _ = drawn()
    target, penalty = torch.stack([y.double(), x[:, 0].double() ** 2], 1), 0.05
    found = refitted(x, target, "regression", outputs=2, penalty=penalty)
    rows = x.double() - x.double().mean(0)
    bend = 2 / 2 * rows.T @ rows / N + penalty * rows.square().mean() * torch.eye(D)
    want = torch.linalg.solve(bend, 2 / 2 * rows.T @ (target - target.mean(0)) / N)
    torch.testing.assert_close(found.matrix, want.T, atol=1e-4, rtol=0)
    torch.testing.assert_close(found(x.double()).mean(0), target.mean(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_no_other_head_nearby_has_a_smaller_loss(kind):
    x, y, z = drawn()
    labels = y if kind == "classification" else torch.stack([y, z > 0], 1).double()
    found = refitted(x, labels, kind, outputs=C, penalty=0.0)
    least = mean_loss(found(x.double()), labels, kind)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        push = 1e-2 * torch.randn(C, D, generator=generator).double()
        other = Map(found.matrix + push, found.bias)
        assert mean_loss(other(x.double()), labels, kind) > least


def test_directions_that_were_erased_get_no_weight():
    x, y, _ = drawn()
    x[:, 3] = 0
    found = refitted(x, y, "classification", outputs=C, penalty=1e-3)
    assert found.matrix[:, 3].abs().max() < 1e-9


@pytest.mark.parametrize(("kind", "columns"), [(MultiLabel, 2), (Regression, 1)])
def test_tasks_without_classes_are_served_and_told_that_nothing_was_conditioned_on(kind, columns):
    x, y, z = drawn()
    labels = torch.stack([y, x[:, 4] > 0], 1).float()[:, :columns]
    data, task = TensorDataset(x, labels, z), reading(kind)
    model = built(lambda: nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, columns)))
    outcome = erased(model, task, data)
    assert f"a {task.kind} task has no classes" in outcome.notes[0]
    assert told(features(outcome.after, task, data.tensors), F.one_hot(z, K)) < 1e-6
    with torch.no_grad():
        before, after = (task.loss(m, data.tensors).mean() for m in (outcome.before, outcome.after))
    assert after < before
