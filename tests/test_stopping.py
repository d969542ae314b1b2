"""When to stop: what must go is treated as data that the model never saw."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Request, Samples, split
from expunge.batching import Batches
from expunge.method import Case
from expunge.stopping import Watch, matched, removed


class Told(nn.Module):
    """A model that answers what the data tell it to: the inputs are the logits."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


def answers(labels, right, sure=4.0):
    """Logits for these labels, right or wrong as told."""
    said = torch.where(right, labels, (labels + 1) % 3)
    return sure * nn.functional.one_hot(said, 3).float()


def case(*targets, forget_right, unseen_right, unseen_labels=None, sure=4.0):
    n = len(forget_right)
    labels = torch.arange(n + 60) % 3
    right = torch.cat([forget_right, torch.ones(60, dtype=torch.bool)])
    jitter = torch.arange(n + 60)[:, None] * 1e-6
    train = TensorDataset(answers(labels, right, sure) + jitter, labels)
    theirs = torch.arange(len(unseen_right)) % 3 if unseen_labels is None else unseen_labels
    unseen = TensorDataset(answers(theirs, unseen_right, sure) - 1e-3, theirs)
    requests = [Request(target) for target in targets]
    parts = split(train, *requests, test=train, validation=unseen)
    forget, retain, aside = (Batches(p) for p in (parts.forget, parts.retain, parts.validation))
    return Case(parts.targets, forget, retain, aside, Classification())


def trues(count, of):
    return torch.arange(of) < count


def look(found, **settings):
    return Watch(found, goal=0.01, **settings).look(Told(), 0)


def test_a_class_is_done_with_when_it_is_hardly_recognised():
    labels = torch.arange(90) % 3
    for right, done in ((labels != 1, True), (trues(90, 90), False)):
        found = case(Classes((1,)), forget_right=right, unseen_right=labels != 1, sure=8.0)
        train = found.forget.part.source
        train.tensors[0][90:][train.tensors[1][90:] == 1] = torch.tensor([0.0, 0.0, 8.0])
        assert look(found).done is done


@pytest.mark.parametrize(("samples", "done"), [(90, False), (330, True)])
def test_where_few_samples_tell_a_class_must_not_be_held_likely_either(samples, done):
    """An answer of 2, 0, 0 gives others eleven per cent, which thirty samples need not show."""
    labels = torch.arange(samples) % 3
    wrong = labels != 1
    found = case(Classes((1,)), forget_right=wrong, unseen_right=wrong, sure=2.0)
    train = found.forget.part.source
    train.tensors[0][samples:][train.tensors[1][samples:] == 1] = torch.tensor([0.0, 0.0, 2.0])
    assert look(found).done is done


def test_a_class_that_unseen_samples_still_show_is_not_done_with():
    labels = torch.arange(90) % 3
    found = case(Classes((1,)), forget_right=labels != 1, unseen_right=trues(90, 90))
    train = found.forget.part.source
    train.tensors[0][90:][train.tensors[1][90:] == 1] = torch.tensor([0.0, 0.0, 4.0])
    assert not look(found).done


@pytest.mark.parametrize(("right", "done"), [(90, False), (81, False), (72, True), (60, True)])
def test_many_samples_are_done_with_when_no_more_are_recognised_than_unseen_ones(right, done):
    found = case(
        Samples(tuple(range(90))), forget_right=trues(right, 90), unseen_right=trues(72, 90)
    )
    assert look(found).done is done


def test_few_samples_are_done_with_by_their_loss_alone():
    for right, done in ((10, False), (9, False), (8, True)):
        found = case(
            Samples(tuple(range(10))), forget_right=trues(right, 10), unseen_right=trues(76, 90)
        )
        assert look(found).done is done


def test_unseen_samples_count_by_the_classes_that_must_go():
    """All that must go is of class 0; unseen samples are right in class 0 and wrong elsewhere."""
    labels = torch.arange(90) % 3
    found = case(
        Samples(tuple(range(0, 90, 3))), forget_right=trues(90, 90), unseen_right=labels == 0
    )
    assert look(found).done  # as often right as unseen samples of the class: always
    found = case(
        Samples(tuple(range(0, 90, 3))), forget_right=trues(90, 90), unseen_right=labels != 0
    )
    assert not look(found).done


def test_matching_gives_the_classes_of_what_was_asked():
    weights = matched(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 2, 2, 2]))
    assert weights.tolist() == pytest.approx([0.75, 0.125, 0.125, 0, 0, 0])


def test_matching_without_a_common_class_gives_nothing():
    assert matched(torch.tensor([3]), torch.tensor([0, 1])) is None
    assert matched(torch.tensor([3]), torch.tensor([], dtype=torch.long)) is None


def test_copies_of_what_must_go_are_no_yardstick():
    found = case(Samples(tuple(range(90))), forget_right=trues(90, 90), unseen_right=trues(45, 90))
    train, unseen = found.forget.part.source, found.validation.part.source
    unseen.tensors[0][45:] = train.tensors[0][45:90]
    unseen.tensors[1][45:] = train.tensors[1][45:90]
    watch = Watch(found, goal=0.01)
    said = "45 of 90 validation samples are among those that must go; they are no yardstick"
    assert found.report.notes == [f"{said} and were left out"]
    assert watch.look(Told(), 0).kept == 1.0


def test_validation_data_that_are_the_forget_set_leave_nothing_to_compare_with():
    found = case(Samples(tuple(range(90))), forget_right=trues(90, 90), unseen_right=trues(90, 90))
    train = found.forget.part.source
    same = TensorDataset(train.tensors[0][:90], train.tensors[1][:90])
    parts = split(train, Request(Samples(tuple(range(90)))), test=train, validation=same)
    watch = Watch(
        Case(
            parts.targets,
            Batches(parts.forget),
            Batches(parts.retain),
            Batches(parts.validation),
            Classification(),
        ),
        goal=0.01,
    )
    assert watch.blind(train.tensors[1][:90])


def test_blind_are_single_samples_without_unseen_ones():
    labels = torch.arange(30) % 3
    data = TensorDataset(answers(labels, trues(30, 30)), labels)
    for targets, blind in (
        ((Samples((1,)),), True),
        ((Classes((1,)),), False),
        ((Classes((1,)), Samples((0,))), True),
    ):
        parts = split(data, *(Request(t) for t in targets), test=data)
        found = Case(
            parts.targets, Batches(parts.forget), Batches(parts.retain), None, Classification()
        )
        watch = Watch(found, goal=0.01)
        assert watch.blind(labels[found.forget.part.indices]) is blind
        assert not watch.look(Told(), 3).done
        assert set(found.report.traces) == {"forget accuracy", "retain accuracy"}


def test_a_look_takes_no_more_samples_than_told_and_leaves_the_model_as_it_was():
    found = case(Samples(tuple(range(90))), forget_right=trues(90, 90), unseen_right=trues(90, 90))
    asked = []

    class Counting(Told):
        def forward(self, x):
            asked.append(len(x))
            assert not self.training
            return super().forward(x)

    model = Counting().train()
    Watch(found, goal=0.01, most=20).look(model, 0)
    assert sum(asked) == 40
    assert model.training


def test_removed_classes_are_those_of_all_requests():
    labels = torch.arange(30) % 3
    data = TensorDataset(answers(labels, trues(30, 30)), labels)
    parts = split(data, Request(Classes((2,))), Request(Classes((0, 2))), test=data)
    found = Case(
        parts.targets, Batches(parts.forget), Batches(parts.retain), None, Classification()
    )
    assert removed(found) == [0, 2]


def test_unseen_samples_of_other_classes_tell_nothing():
    labels = torch.full((90,), 2)
    found = case(
        Samples((0, 3)),
        forget_right=trues(90, 90),
        unseen_right=trues(90, 90),
        unseen_labels=labels,
    )
    assert Watch(found, goal=0.01).blind(torch.tensor([0, 0]))
    assert not Watch(found, goal=0.01).blind(torch.tensor([0, 2]))


def test_unseen_samples_of_removed_classes_alone_leave_the_retained_ones_to_watch():
    found = case(
        Classes((1,)),
        forget_right=trues(90, 90),
        unseen_right=trues(90, 90),
        unseen_labels=torch.ones(90, dtype=torch.long),
    )
    assert look(found).kept == 1.0
