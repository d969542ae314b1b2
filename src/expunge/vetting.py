"""Whether held-out samples are what they should be: unseen in training, and alike.

Probes on samples that a model was trained on find what it made of them, which is less after an
erasure that was fitted to them, and more where it knows them by heart. And probes that learn from
samples which are shown otherwise than those that score them find nothing, whatever is there.
"""

from collections.abc import Iterator
from functools import partial

import torch

from expunge.algebra.statistics import mean_interval, minus
from expunge.batching import Batches
from expunge.errors import MissingInput
from expunge.metric import Measurement, Trial
from expunge.observing import BATCH, device_of, observe
from expunge.reserving import Reserve
from expunge.splitting import Part
from expunge.twins import among

SEEN = "held-out samples seen in training (share)"
UNLIKE = "accuracy on validation samples less on test samples"
"""What is found out; a floor says how much would not matter."""

_SEEN, _UNLIKE = 0.1, 0.05


def vetted(trial: Trial, held: Reserve) -> Iterator[Measurement]:
    """What is to be known of the samples that probes learn from and are scored by."""
    yield Measurement.attempt(SEEN, partial(_seen, trial, held))
    if held.validation and trial.after.test.kind != "regression":
        yield _unlike(trial)


def _seen(trial: Trial, held: Reserve) -> Measurement:
    split, task = trial.outcome.split, trial.outcome.task
    train = Part.whole(split.retain.source)
    found = [among(part, train, task) for part in held.parts]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        raise MissingInput("data that must be read sample by sample are not compared")
    both = torch.cat(known).double()
    note = "copies of the inputs of training samples; `expunge doctor` names one"
    return Measurement(SEEN, both.mean().item(), "lower", n=len(both), floor=_SEEN, note=note)


def _unlike(trial: Trial) -> Measurement:
    """The original's; samples that are shown turned round, or of elsewhere, are read worse."""
    outcome = trial.outcome
    batches = Batches(outcome.split.validation or outcome.split.test, BATCH,
                      device=device_of(outcome.before))  # fmt: skip
    mine = mean_interval(observe(outcome.before, batches, outcome.task).correct)
    theirs = mean_interval(trial.before.test.correct)
    found = minus(mine, theirs)
    return Measurement(
        UNLIKE,
        found.value,
        interval=(found.low, found.high),
        n=len(batches.part),
        floor=_UNLIKE,
        note=f"the original's is {mine.value:.1%} and {theirs.value:.1%}",
    )
