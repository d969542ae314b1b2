"""One model's answers, sample by sample, by formulas that others wrote."""

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, MultiLabel, Regression, Request, Samples, split
from expunge.batching import Batches
from expunge.errors import BatchUnreadable, Diverged, MissingInput
from expunge.observing import (
    Observation,
    device_of,
    evaluating,
    observe,
    snapshot,
)
from expunge.splitting import Part

N, C, D = 7, 3, 5
LOGITS = torch.randn(N, C, generator=torch.Generator().manual_seed(0)) * 4
LABELS = torch.tensor([0, 1, 2, 2, 1, 0, 1])
SEEN = Observation(torch.arange(N), LOGITS, LABELS)
HUGE = Observation(
    torch.arange(4),
    torch.tensor([[1e4, 0.0, -1e4], [1e4, 0.0, -1e4], [0.0, 1e4, 1e4], [-1e4, -1e4, -1e4]]),
    torch.tensor([0, 2, 1, 0]),
)


def data(count=11, classes=C):
    draw = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(count, D, generator=draw), torch.arange(count) % classes)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, C))


# Formulas


def test_losses_are_the_negative_logarithm_of_the_true_classs_softmax():
    z = LOGITS.double().numpy()
    expected = special.logsumexp(z, axis=1) - z[np.arange(N), LABELS]
    np.testing.assert_allclose(SEEN.losses, expected, rtol=1e-12)


def test_probabilities_and_confidence_are_softmax():
    expected = special.softmax(LOGITS.double().numpy(), axis=1)
    np.testing.assert_allclose(SEEN.probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(SEEN.confidence, expected[np.arange(N), LABELS], rtol=1e-12)


def test_phi_is_the_logit_of_the_confidence():
    expected = special.logit(special.softmax(LOGITS.double().numpy(), axis=1)[np.arange(N), LABELS])
    np.testing.assert_allclose(SEEN.phi, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["losses", "confidence", "phi", "probabilities"])
def test_scores_are_computed_in_double_precision(name):
    assert getattr(SEEN, name).dtype == torch.float64


def test_scores_stay_finite_where_probabilities_are_zero_or_one():
    assert HUGE.phi.tolist() == pytest.approx([1e4, -2e4, 0.0, -np.log(2)])
    assert HUGE.losses.tolist() == pytest.approx([0.0, 2e4, np.log(2), np.log(3)])
    assert HUGE.phi.isfinite().all()


def test_two_confident_samples_keep_their_order_where_softmax_rounds_to_one():
    sure = Observation(
        torch.arange(2), torch.tensor([[60.0, 0.0], [90.0, 0.0]]), torch.tensor([0, 0])
    )
    assert sure.confidence.tolist() == [1.0, 1.0]
    assert sure.phi.tolist() == pytest.approx([60.0, 90.0])


def test_accuracy_is_the_share_of_right_answers():
    expected = (LOGITS.numpy().argmax(1) == LABELS.numpy()).mean()
    assert SEEN.accuracy == pytest.approx(expected)
    assert 0 < expected < 1


def test_some_of_an_observation_is_chosen_by_mask_or_position():
    full = Observation(
        SEEN.ids, LOGITS, LABELS, "classification", {"body": LOGITS * 2}, {"glasses": LABELS > 0}
    )
    mask = LABELS == 1
    for chosen in (mask, mask.nonzero().flatten()):
        some = full.only(chosen)
        assert some.ids.tolist() == [1, 4, 6]
        assert some.losses.equal(full.losses[mask])
        assert some.features["body"].equal(LOGITS[mask] * 2)
        assert some.attributes["glasses"].all()


def test_nothing_has_no_accuracy():
    with pytest.raises(MissingInput, match="no samples"):
        _ = SEEN.only(torch.zeros(N, dtype=torch.bool)).accuracy


# Other tasks


def multilabel():
    labels = torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 0]])
    return Observation(
        torch.arange(2), torch.tensor([[-1.0, 2, -3, 0], [9, 1e4, -1e4, -2]]), labels, "multilabel"
    )


def test_losses_of_several_labels_are_their_mean():
    seen = multilabel()
    z, y = seen.logits.double().numpy(), seen.labels.double().numpy()
    expected = -(y * special.log_expit(z) + (1 - y) * special.log_expit(-z)).mean(1)
    np.testing.assert_allclose(seen.losses, expected, rtol=1e-12)


def test_accuracy_of_several_labels_is_the_share_of_labels():
    assert multilabel().correct.tolist() == [0.75, 0.75]
    assert multilabel().accuracy == 0.75


@pytest.mark.parametrize("name", ["probabilities", "confidence", "phi"])
def test_scores_of_one_label_are_missing_for_several_and_for_numbers(name):
    number = Observation(torch.arange(2), torch.zeros(2, 1), torch.zeros(2), "regression")
    for seen in (multilabel(), number):
        with pytest.raises(MissingInput, match=seen.kind):
            getattr(seen, name)


@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 2)])
def test_losses_of_numbers_are_mean_squares(shape):
    draw = torch.Generator().manual_seed(3)
    said, labels = torch.randn(2, *shape, generator=draw)
    seen = Observation(torch.arange(N), said, labels, "regression")
    expected = ((said.double() - labels.double()).numpy() ** 2).reshape(N, -1).mean(1)
    np.testing.assert_allclose(seen.losses, expected, rtol=1e-6)


def test_a_column_of_answers_is_compared_with_a_row_of_numbers_one_by_one():
    said, labels = torch.arange(4.0)[:, None], torch.arange(4.0) + 2
    seen = Observation(torch.arange(4), said, labels, "regression")
    assert seen.losses.tolist() == [4.0] * 4


def test_numbers_have_no_accuracy():
    seen = Observation(torch.arange(2), torch.zeros(2, 1), torch.zeros(2), "regression")
    with pytest.raises(MissingInput, match="no accuracy"):
        _ = seen.accuracy


# Asking


def test_every_sample_is_asked_once_in_order_whatever_the_batch_size():
    model, part = net().eval(), Part(data(), torch.tensor([9, 2, 5, 7, 1]))
    with torch.no_grad():
        expected = model(part.source.tensors[0][part.indices])
    for size in (1, 2, 5, 100):
        seen = observe(model, Batches(part, size), Classification())
        assert seen.ids.tolist() == [9, 2, 5, 7, 1]
        torch.testing.assert_close(seen.logits, expected)
        assert seen.labels.tolist() == [0, 2, 2, 1, 1]
    assert len(seen) == 5


def test_every_module_gets_its_own_mode_back():
    model = net().train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    first = observe(model, Batches(Part.whole(data()), 4), Classification())
    second = observe(model, Batches(Part.whole(data()), 4), Classification())
    assert [module.training for module in model.modules()] == modes
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert first.logits.equal(second.logits)  # neither dropout nor batch statistics


def test_modes_come_back_even_when_the_model_fails():
    model = net().train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), evaluating(model):
        model(torch.zeros(2, D + 1))
    assert all(module.training for module in model.modules())


def test_features_are_kept_where_they_are_asked_for():
    model, part = net(), Part.whole(data())
    seen = observe(model, Batches(part, 4), Classification(), features=True)
    torch.testing.assert_close(model[3](seen.features["auto"]), seen.logits)
    assert observe(model, Batches(part, 4), Classification()).features == {}


def test_observed_features_can_be_learnt_from():
    seen = observe(net(), Batches(Part.whole(data()), 4), Classification(), features=True)
    probe = nn.Linear(4, 2)
    F.mse_loss(probe(seen.features["auto"]), torch.zeros(11, 2)).backward()
    assert probe.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("task", "labels", "kind"),
    [
        (MultiLabel(), torch.ones(11, C), "multilabel"),
        (Regression(), torch.ones(11, C), "regression"),
        (Classification(), torch.ones(11, dtype=torch.uint8), "classification"),
    ],
)
def test_every_kind_of_task_can_be_observed(task, labels, kind):
    part = Part.whole(TensorDataset(data().tensors[0], labels))
    seen = observe(net(), Batches(part, 4), task)
    assert seen.kind == kind
    assert seen.losses.shape == (11,)
    assert seen.losses.isfinite().all()


def test_answers_in_half_precision_are_kept_in_single():
    model = nn.Linear(D, C).bfloat16()
    x, y = data().tensors
    seen = observe(model, Batches(Part.whole(TensorDataset(x.bfloat16(), y)), 4), Classification())
    assert seen.logits.dtype == torch.float32


def test_answers_that_change_their_shape_are_refused():
    class Growing(nn.Module):
        def forward(self, x):
            return x[:, : 1 + len(x) % 2]

    with pytest.raises(BatchUnreadable, match="change their shape"):
        observe(Growing(), Batches(Part.whole(data(5)), 3), Classification())


def test_answers_that_are_not_finite_are_refused_with_their_number():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.where(x[:, :C] > 0.5, torch.nan, 1.0)

    broken = int((data().tensors[0][:, :C] > 0.5).any(1).sum())
    with pytest.raises(Diverged, match=f"{broken} of 11 samples"):
        observe(Broken(), Batches(Part.whole(data()), 4), Classification())


def test_a_regression_may_answer_one_number_a_sample():
    x, y = torch.randn(6, D), torch.randn(6)
    flat = nn.Sequential(nn.Linear(D, 1), nn.Flatten(0))
    seen = observe(flat, Batches(Part.whole(TensorDataset(x, y)), 4), Regression())
    torch.testing.assert_close(seen.losses, ((flat(x) - y) ** 2).double())


def test_nothing_is_observed_of_an_empty_part():
    seen = observe(net(), Batches(Part(data(), torch.zeros(0, dtype=torch.long))), Classification())
    assert len(seen) == 0
    assert seen.losses.shape == (0,)


# Snapshots


def test_a_snapshot_sees_the_three_sets_and_divides_the_test_set_by_class():
    seen = snapshot(net(), split(data(), Request(Classes((1,))), test=data(8)), Classification())
    assert seen.forget.labels.unique().tolist() == [1]
    assert seen.retain.labels.unique().tolist() == [0, 2]
    assert seen.test_removed.labels.unique().tolist() == [1]
    assert seen.test_kept.labels.unique().tolist() == [0, 2]
    assert len(seen.test_removed) + len(seen.test_kept) == len(seen.test) == 8


def test_without_a_removed_class_the_test_set_is_not_divided():
    seen = snapshot(net(), split(data(), Request(Samples((1,))), test=data(8)), Classification())
    with pytest.raises(MissingInput, match="no class was removed"):
        _ = seen.test_removed
    with pytest.raises(MissingInput, match="no class was removed"):
        _ = seen.test_kept


def test_a_test_set_without_the_removed_class_says_so():
    only = TensorDataset(torch.zeros(2, D), torch.tensor([0, 2]))
    seen = snapshot(net(), split(data(), Request(Classes((1,))), test=only), Classification())
    with pytest.raises(MissingInput, match="no sample of the removed classes"):
        _ = seen.test_removed
    assert len(seen.test_kept) == 2


def test_a_model_lives_where_its_first_tensor_lives():
    assert device_of(nn.Linear(2, 3, device="meta")).type == "meta"
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta")).type == "meta"
    assert device_of(nn.ReLU()).type == "cpu"
