"""Scikit-learn's digits in red, green or blue ink: which colour says nothing about which digit.

Nobody needs the colour to read the digit, so a representation that cannot tell it has lost nothing.
"""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import TensorDataset

from expunge.batching import Batches
from expunge.fitting import Fit
from expunge.problems.digits import digits
from expunge.problems.networks import small_cnn
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.splitting import Data, Part
from expunge.tasks import Batch, Classification

COLOURS = ("red", "green", "blue")
_PALE = 0.25  # how much of the ink shows in the other channels


def coloured_digits(*, width: int = 16, epochs: int = 20, colours: int = 1) -> Problem:
    """A small convolutional network that reads digits of any colour.

    Held-out digits may be seen in several ``colours``, up to all three, one after the other: what
    probes find in them is then known more closely.
    """
    plain = digits(network="cnn")
    train = _inked(plain.train, 0)
    test, validation = _inked(plain.test, 1, colours), _inked(plain.validation, 2, colours)
    build = partial(small_cnn, channels=3, depth=2, width=width)
    return Problem(
        train=train,
        test=test,
        validation=validation,
        task=Classification(attributes={"colour": colour_of}),
        recipe=Recipe(build, Fit(epochs=epochs, lr=0.1, batch=50), f"coloured-digits-{width}"),
    )


def colour_of(batch: Batch) -> Tensor:
    """A place in ``COLOURS`` for every digit."""
    found: Tensor = batch[2]
    return found


def inked(x: Float[Tensor, "n 1 h w"], colours: Int[Tensor, " n"]) -> Float[Tensor, "n 3 h w"]:
    """Grey digits in colour: full in one channel, pale in the others."""
    strength = torch.full((len(x), len(COLOURS)), _PALE)
    strength[torch.arange(len(x)), colours] = 1.0
    return x * strength[:, :, None, None]


def _inked(part: Data, seed: int, times: int = 1) -> TensorDataset:
    """Every digit in a colour drawn for it, and in the colours that follow upon that."""
    x, y = Batches(Part.whole(part)).take(torch.arange(len(part)))
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(COLOURS), (len(x),), generator=generator)
    ink = torch.cat([(first + k) % len(COLOURS) for k in range(times)])
    return TensorDataset(inked(x.repeat(times, 1, 1, 1), ink), y.repeat(times), ink)
