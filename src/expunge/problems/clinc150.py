"""CLINC150: 22,500 short requests to an assistant, each with one of 150 intents.

The published parts are kept: 100 sentences of every intent train, 20 validate and 30 test. What
lies outside all intents is left out.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from expunge.fitting import Fit
from expunge.problems.archives import Archive, packed
from expunge.problems.problem import Problem
from expunge.problems.texts import Sentences, labels_of, lines, minilm, numbered, words_of
from expunge.recipe import Recipe
from expunge.tasks import Classification

ARCHIVE = Archive(
    "CLINC150",
    "https://github.com/clinc/oos-eval",
    (
        packed(
            "text/clinc150.jsonl.xz",
            "c8a56472f4925d8aaf36f05b1134b998d80e0887641ce1c18697fc9913032cc3",
        ),
    ),
    contents="f72c3133a346abb75a460d4984eb3f0e797ce05e3bc640ebf6fbc4849e5f4dce",
)
INTENTS = 150
_LENGTH = 20  # pieces of words; one sentence in seventy is longer, and is cut


def clinc150(*, data: str | Path | None = None, epochs: int = 3, lr: float = 3e-4) -> Problem:
    """Tell what somebody wants: a small transformer, fine-tuned by a one-cycle schedule."""
    found = lines(ARCHIVE.arrays(data)["bytes"])
    task = Classification(inputs=words_of, labels=labels_of)
    fit = Fit(
        epochs=epochs,
        lr=lr,
        batch=64,
        optimizer="adamw",
        schedule="onecycle",
        weight_decay=0.01,
        task=task,
    )
    return Problem(
        train=_part(found, "train"),
        test=_part(found, "test"),
        validation=_part(found, "val"),
        task=task,
        recipe=Recipe(partial(minilm, classes=INTENTS), fit, name="clinc150-minilm"),
    )


def _part(rows: list[dict[str, Any]], name: str) -> Sentences:
    own = [row for row in rows if row["split"] == name and row["label"] < INTENTS]
    labels = torch.tensor([row["label"] for row in own])
    return Sentences(numbered([row["text"] for row in own], length=_LENGTH), labels)
