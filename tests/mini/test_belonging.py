"""A history of another model, of other data, of another loss or of other samples is refused."""

import copy
import json
import shutil
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from expunge.errors import CannotRead, HistoryDoesNotFit
from expunge.history import History
from expunge.recording import record
from expunge.storing import load_tensors, save_tensors


def test_a_missing_history_is_told(deep, tmp_path):
    with pytest.raises(CannotRead, match="holds no history"):
        replace(deep, folder=tmp_path / "nowhere").unlearned()


def test_a_history_of_another_model_is_refused(deep):
    moved = copy.deepcopy(deep.model)
    with torch.no_grad():
        moved[0].bias.add_(1e-3)
    with pytest.raises(HistoryDoesNotFit, match="other weights"):
        replace(deep, model=moved).unlearned()
    with pytest.raises(HistoryDoesNotFit, match="recorded 4 tensors of 66 numbers"):
        replace(deep, model=nn.Linear(5, 3)).unlearned()


def test_a_history_of_another_dataset_is_refused(deep):
    less = TensorDataset(*(t[:-1] for t in deep.run.data.tensors))
    with pytest.raises(HistoryDoesNotFit, match="on 110 samples, the training set has 109"):
        replace(deep, run=replace(deep.run, data=less)).unlearned()


def test_samples_that_are_older_than_the_window_are_told_or_refused(deep, tmp_path, told):
    run = replace(deep.run, epochs=1)
    left = run.recorded(tmp_path / "history", keep=2)
    early, late = ([*run.order()][at].tolist() for at in (0, -1))
    with pytest.raises(HistoryDoesNotFit, match="none of the 7 forget samples is in the last"):
        left.unlearned(early[:7])
    outcome = left.unlearned([*early[:2], *late[:1]])
    assert told(outcome, "2 of 3 forget samples are in no step of the window")


@pytest.mark.parametrize("mode", ["linear", "replay"])
def test_another_loss_than_the_one_that_was_trained_is_refused(logistic, tmp_path, mode):
    def summed(logits, labels):
        return F.cross_entropy(logits, labels, reduction="sum")

    decay = logistic.run.decay
    run = replace(logistic.run, loss=summed, optimizer=lambda p: SGD(p, 0.01, weight_decay=decay))
    left = run.recorded(tmp_path / "history", gradients="bf16")
    with pytest.raises(HistoryDoesNotFit, match="the task's loss has a gradient of length"):
        left.unlearned(run.gone[:2], mode=mode)


def test_a_run_that_was_killed_is_followed_if_it_leads_to_the_model(logistic, tmp_path, told):
    left = replace(logistic.run, epochs=2).recorded(tmp_path / "history", gradients="fp32")
    header = left.folder / "history.json"
    ended = History.open(left.folder).ended
    header.write_text(header.read_text().replace(f'"{ended}"', "null"))
    outcome = left.unlearned(mode="linear")
    assert told(outcome, "whether the recorded run ended with this model is not known")
    other = replace(left, model=nn.Linear(5, 3).double())
    with pytest.raises(HistoryDoesNotFit, match="the recorded steps end"):
        other.unlearned(mode="linear")


def test_weights_that_were_loaded_before_the_tape_closed_are_told_and_refused(deep, tmp_path):
    model, optimizer = deep.run.fresh()
    best = copy.deepcopy(model.state_dict())
    loader = DataLoader(deep.run.data, deep.run.batch)
    tape = record(model, optimizer, to=tmp_path / "history")
    with ExitStack() as stack:
        stack.enter_context(tape)
        for x, y in tape.watch(loader):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.load_state_dict(best)
        with pytest.warns(RuntimeWarning, match="changed after the last step"):
            stack.close()
    with pytest.raises(HistoryDoesNotFit, match="only after the tape is closed"):
        replace(deep, model=model, folder=tmp_path / "history").unlearned()


def test_a_model_in_a_wrapper_is_asked_for_without_it(deep):
    wrapped = nn.Sequential()
    wrapped.add_module("module", deep.model)
    with pytest.raises(HistoryDoesNotFit, match=r"inside the wrapper: model\.module"):
        replace(deep, model=wrapped).unlearned()


@pytest.mark.parametrize("mode", ["replay", "linear"])
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["layout"]["groups"][0].__setitem__(3, "2.other"),
        lambda body: body["layout"]["groups"][0].pop(),
        lambda body: body["layout"]["shapes"][0].__setitem__(0, 8),
        lambda body: body.__setitem__("size", "110"),
        lambda body: body.__setitem__("optimizer", "adam"),
        lambda body: body.__setitem__("gradients", "fp16"),
        lambda body: body.__setitem__("layout", {"groups": [[1]], "shapes": [["a"]]}),
    ],
)
def test_a_head_that_was_edited_by_hand_is_refused(deep, tmp_path, mode, change):
    path = shutil.copytree(deep.folder, tmp_path / "h") / "history.json"
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))
    with pytest.raises((CannotRead, HistoryDoesNotFit)):
        replace(deep, folder=path.parent).unlearned(mode=mode)


@pytest.mark.parametrize("groups", ["[]", "[{", "[1]"])
def test_a_start_whose_groups_were_edited_is_refused(deep, tmp_path, groups):
    folder = shutil.copytree(deep.folder, tmp_path / "h")
    for path in folder.glob("*.start.safetensors"):
        tensors, _ = load_tensors(path)
        save_tensors(path, tensors, {"groups": groups})
    with pytest.raises(CannotRead):
        replace(deep, folder=folder).unlearned(mode="replay")
