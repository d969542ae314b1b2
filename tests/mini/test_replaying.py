"""A replay is retraining, bit for bit, and reads none of those who leave."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW
from torch.utils.data import Dataset

from expunge.errors import HistoryDoesNotFit
from expunge.fitting import Fit
from expunge.history import History
from expunge.unlearning import seeded


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: SGD(p, 0.1),
        lambda p: SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
        lambda p: SGD([{"params": p[:1], "lr": 0.01}, {"params": p[1:]}], 0.1, momentum=0.5),
        lambda p: AdamW(p, 0.01, betas=(0.8, 0.9), weight_decay=0.1),
    ],
    ids=["plain", "nesterov", "groups", "adamw"],
)
def test_replay_of_the_whole_run_is_retraining_bit_for_bit(
    optimizer, deep, tmp_path, same, apart, told
):
    run = replace(deep.run, optimizer=optimizer)
    left = run.recorded(tmp_path / "history")
    outcome = left.unlearned()
    assert same(outcome.after, run.again())
    assert apart(outcome.after, left.model) > 0.01
    assert told(outcome, "mode replay: ")


def test_replay_follows_accumulated_gradients_bit_for_bit(deep, tmp_path, same):
    run = deep.run
    after = run.recorded(tmp_path / "history", chunks=2).unlearned(run.many).after
    assert same(after, run.again(run.many, chunks=2))


def noisy(batch):
    x, y = batch
    return x + 0.3 * torch.randn_like(x), y


def fitted(run, gone):
    """Fit, but for what it learns from."""
    model = run.build()
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    for _ in range(3):
        for ids in torch.randperm(run.size).tensor_split(5):
            x, y = noisy([t[ids] for t in run.data.tensors])
            stays = ~torch.isin(ids, torch.tensor(gone))
            optimizer.zero_grad()
            F.cross_entropy(model(x[stays]), y[stays]).backward()
            optimizer.step()
    return model


def test_replay_of_fit_has_the_same_draws_of_augmentation(deep, tmp_path, same):
    run, folder = deep.run, tmp_path / "history"
    fit = Fit(3, batch=22, schedule="constant", augment=noisy, record=folder)
    with seeded(4):
        model = fit(run.build(), run.data)
    with seeded(4):
        wanted = fitted(run, run.gone)
    outcome = replace(deep, model=model, folder=folder).unlearned(augment=noisy)
    assert same(outcome.after, wanted)


@dataclass(eq=False)
class Spied(Dataset):
    """A dataset that remembers who was read."""

    data: Dataset
    read: set = field(default_factory=set)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, at):
        self.read.add(int(at))
        return self.data[at]


@pytest.mark.parametrize("augment", [None, lambda batch: batch], ids=["plain", "augmented"])
def test_replay_reads_no_forgotten_sample(deep, augment):
    run, spied = deep.run, Spied(deep.run.data)
    replace(deep, run=replace(run, data=spied)).unlearned(augment=augment)
    assert spied.read == set(range(run.size)) - set(run.gone)


def test_a_replay_begins_where_a_start_was_kept(deep, same, told):
    run, history = deep.run, History.open(deep.folder)
    outcome = deep.unlearned(window=5)
    first, end = max(s for s in history.starts if s <= 55), 60
    assert told(outcome, f"window: the last {end - first} of {end} steps (where a start was kept)")
    assert len(outcome.traces["loss"]) == end - first
    model, optimizer = run.fresh()
    start = history.start(first)
    model.load_state_dict(start.model)
    optimizer.load_state_dict(start.optimizer)
    assert same(outcome.after, run.again(start=(model, optimizer), first=first))


def test_a_step_of_which_nothing_stays_is_left_out(deep, tmp_path, same, told):
    run = replace(deep.run, batch=4)
    gone = tuple({i for ids in [*run.order()][3:30:9] for i in ids.tolist()})
    outcome = run.recorded(tmp_path / "history").unlearned(gone)
    assert same(outcome.after, run.again(gone))
    assert told(outcome, "steps were left out: too little stays")


@pytest.fixture
def normalised(deep, tmp_path):
    run = replace(deep.run, build=lambda: deep.run.build(nn.BatchNorm1d(7)))
    return run.recorded(tmp_path / "history")


def test_statistics_of_a_replay_are_those_of_retained_samples_alone(normalised):
    run, after = normalised.run, normalised.unlearned().after
    kept = torch.tensor(sorted(set(range(run.size)) - set(run.gone)))
    said = after[0](run.data.tensors[0][kept])
    torch.testing.assert_close(after[1].running_mean, said.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(after[1].running_var, said.var(0), rtol=0.3, atol=0.02)


def test_statistics_that_training_left_alone_stay_as_they_are(deep, tmp_path, same):
    def frozen():
        model = deep.run.build(nn.BatchNorm1d(7))
        model[1].eval()
        return model

    run = replace(deep.run, build=frozen)
    outcome = run.recorded(tmp_path / "history").unlearned()
    assert same(outcome.after, run.again())


def test_a_batch_of_one_cannot_be_normalised_and_is_left_out(normalised, told):
    ids = [*normalised.run.order()][2].tolist()
    assert told(normalised.unlearned(ids[1:]), "1 steps were left out")


@pytest.mark.parametrize("first", [0, 2, 4])
@pytest.mark.parametrize("too", [False, True], ids=["others leave", "the purged too"])
def test_after_a_purge_what_is_left_can_be_replayed(first, too, deep, tmp_path, same, told):
    """Gradients end where the purged come in; before that, every batch loses somebody."""
    run = replace(deep.run, epochs=3)
    batches = [*run.order()]
    purged, gone = batches[first][:2].tolist(), [int(ids[3]) for ids in batches[:5]]
    left = run.recorded(tmp_path / "history", gradients="fp32")
    History.open(left.folder).purge(purged)
    outcome = left.unlearned([*purged, *gone] if too else gone)
    assert same(outcome.after, run.again([*purged, *gone]))
    assert told(outcome, "the task's loss was not compared")


def test_after_a_purge_the_loss_is_compared_by_a_gradient_that_was_kept(deep, tmp_path, same, told):
    run = replace(deep.run, epochs=3)
    batches = [*run.order()]
    purged, gone = batches[3][:2].tolist(), batches[0][:1].tolist()  # the second batch is whole
    left = run.recorded(tmp_path / "history", gradients="fp32")
    History.open(left.folder).purge(purged)
    outcome = left.unlearned(gone)
    assert same(outcome.after, run.again([*purged, *gone]))
    assert not told(outcome, "was not compared")


def test_after_a_purge_another_loss_is_refused_by_a_gradient_that_was_kept(logistic, tmp_path):
    def summed(logits, labels):
        return F.cross_entropy(logits, labels, reduction="sum")

    run = replace(
        logistic.run, loss=summed, optimizer=lambda p: SGD(p, 0.01, momentum=0.1), epochs=1
    )
    batches = [*run.order()]
    left = run.recorded(tmp_path / "history", gradients="fp32")
    History.open(left.folder).purge(batches[3][:2].tolist())
    with pytest.raises(HistoryDoesNotFit, match="at step 1 the task's loss has a gradient of"):
        left.unlearned(batches[0][:1].tolist(), mode="replay")


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen throughout", "frozen half-way"])
def test_what_did_not_learn_does_not_learn_in_a_replay(deep, tmp_path, frozen, same):
    """Everybody writes SGD(model.parameters()), whatever is frozen."""

    def freeze(model, at):
        model[0].requires_grad_(not frozen and at < 6)

    run = replace(deep.run, epochs=3)
    outcome = run.recorded(tmp_path / "history", each=freeze).unlearned()
    wanted = run.again(each=freeze)
    assert same(outcome.after, wanted)
    assert same(outcome.after[0], outcome.before[0]) == frozen
