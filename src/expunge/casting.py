"""Decide who is in: records that shadow models may be trained with or not, and those that stay.

The pool of an outcome is its forget set and as many held-out samples of the same classes. A shadow
model is trained on the retain set and on half of the pool, and forgets that half. So the model that
is to be judged is one more draw of the same lottery, in which the forget set happened to be drawn.
Where the held-out set has too few samples of a class, some of its forgotten samples are in every
draw, so that every request is as large as the one that is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from expunge.attack import lottery
from expunge.batching import Batches
from expunge.errors import BadSetting, MissingInput, RequestDoesNotFit, TargetMismatch
from expunge.observing import BATCH
from expunge.planting import joined
from expunge.request import Classes, Request, Samples
from expunge.seeding import stream
from expunge.splitting import Data, Part, Split
from expunge.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """All records by their positions in one dataset, and which of them come and go.

    It has as many fields as there are kinds of records.
    """

    data: Data  # the training set, and what was held out behind it
    staying: Int[Tensor, " r"]  # trained on by every model
    leaving: Int[Tensor, " f"]  # trained on and forgotten by every model
    asked: Int[Tensor, " n"]  # whom every model is asked about
    coming: Bool[Tensor, " n"]  # who of these comes and goes
    train_size: int
    whole: tuple[Request, ...] = ()  # requests for whole classes, which are the same for all
    test: Part | None = None  # None: nothing was held out
    validation: Part | None = None  # None: nobody set data aside

    @property
    def train_ids(self) -> Int[Tensor, " a"]:
        """Whom of the training set models are asked about."""
        return self.asked[self.asked < self.train_size]

    @property
    def test_ids(self) -> Int[Tensor, " b"]:
        """Whom of the held-out set models are asked about."""
        return self.asked[self.asked >= self.train_size] - self.train_size

    def known(self, drawn: Bool[Tensor, " n"]) -> Part:
        """What a model is trained on."""
        ids = torch.cat([self.staying, self.leaving, self.asked[drawn]])
        return Part(self.data, ids.sort().values)

    @property
    def retained(self) -> Part:
        """What all models are trained on, and none forgets."""
        return Part(self.data, self.staying)

    def split(self, drawn: Bool[Tensor, " n"]) -> Split:
        """What it is asked to forget afterwards."""
        gone = torch.cat([self.leaving, self.asked[drawn]]).sort().values
        forget = Part(self.data, gone)
        test = Part(self.data, self.asked[~self.coming]) if self.test is None else self.test
        return Split(self._requests(gone), forget, self.retained, test, self.validation)

    def draws(self, count: int, seed: int, *, pairs: bool) -> list[Bool[Tensor, " n"]]:
        """Halves of those who come and go; in pairs, the second is what the first left over."""
        if count < 1 or (pairs and count % 2):
            raise BadSetting(
                f"count is {count}", hint="shadow models come in pairs: an even number of them."
            )
        return [self._draw(k, seed, pairs=pairs) for k in range(count)]

    def mirrored(self) -> Bool[Tensor, " n"]:
        """All who were held out, and nobody else."""
        return self.coming & (self.asked >= self.train_size)

    def nobody(self) -> Bool[Tensor, " n"]:
        """An empty half."""
        return torch.zeros_like(self.coming)

    def _draw(self, k: int, seed: int, *, pairs: bool) -> Bool[Tensor, " n"]:
        pool = self.coming.nonzero().flatten()
        which = k // 2 if pairs else k
        chance = torch.Generator().manual_seed(stream("half", seed, which))
        mixed = pool[torch.randperm(len(pool), generator=chance)]
        half = mixed[: len(pool) // 2] if k % 2 == 0 or not pairs else mixed[len(pool) // 2 :]
        drawn = self.nobody()
        drawn[half] = True
        return drawn

    def _requests(self, gone: Int[Tensor, " f"]) -> tuple[Request, ...]:
        if self.whole:
            return self.whole
        return (Request(Samples(tuple(gone.tolist())), id="shadow"),)


def cast_of(split: Split, task: Task) -> Cast:
    """The lottery of which a split is one draw."""
    if len(split.forget) < 2:
        raise TargetMismatch(
            f"shadow models draw lots between forgotten and held-out samples, but "
            f"{len(split.forget)} left the training set",
            hint="attacks on single samples compare several of them: put requests into one split.",
        )
    if split.kind == "mixed":
        raise TargetMismatch(
            "shadow models forget samples or classes, but this split removes both",
            hint="audit the requests in splits of their own.",
        )
    size = len(split.retain.source)
    forgotten, held = split.forget.indices, split.test.indices
    chosen, matched = _paired(split, task)
    data = joined(split.retain.source, split.test.source)
    asked = torch.cat([forgotten[chosen], held + size])
    coming = torch.cat([torch.ones(int(chosen.sum()), dtype=torch.bool), matched])
    whole = tuple(request for request in split.requests if isinstance(request.target, Classes))
    return Cast(
        data, split.retain.indices, forgotten[~chosen], asked, coming, size, whole,
        split.test, split.validation,
    )  # fmt: skip


def cast_from(
    train: Data, pool: Sequence[int] | Tensor | None, unseen: Data | None, *, forgets: bool
) -> Cast:
    """The lottery of some records of a training set, or of all."""
    size = len(train)
    ids = torch.arange(size) if pool is None else torch.as_tensor(pool, dtype=torch.long)
    odd = ids[(ids < 0) | (ids >= size)].tolist()
    if odd or len(ids.unique()) < len(ids):
        raise RequestDoesNotFit(
            f"the pool names samples twice, or samples that a training set of {size} does not have",
            hint=f"name each by its position, from 0 to {size - 1}, once.",
        )
    ids = ids.sort().values
    staying = torch.arange(size)[~torch.isin(torch.arange(size), ids)]
    if len(ids) < 2 or (forgets and len(staying) == 0):
        raise MissingInput(
            f"{len(ids)} samples come and go and {len(staying)} stay: too few to forget the others",
            hint="let a pool of several samples come and go, and more of them stay.",
        )
    others = torch.arange(0 if unseen is None else len(unseen)) + size
    coming = torch.cat([torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(others) > 0])
    data = train if unseen is None else joined(train, unseen)
    return Cast(data, staying, ids[:0], torch.cat([ids, others]), coming, size)


def _paired(split: Split, task: Task) -> tuple[Bool[Tensor, " f"], Bool[Tensor, " t"]]:
    """Forgotten samples, and as many held-out ones of each of their classes."""
    own, other = labelled(split.forget, task), labelled(split.test, task)
    if task.kind != "classification":
        own, other = torch.zeros(len(own)), torch.zeros(len(other))
    chosen, matched = (torch.zeros(len(part), dtype=torch.bool) for part in (own, other))
    for label in own.unique():
        mine = _by_lot(split.forget.indices, own == label)
        theirs = _by_lot(split.test.indices, other == label)
        count = min(len(mine), len(theirs))
        chosen[mine[:count]] = True
        matched[theirs[:count]] = True
    if int(chosen.sum()) < 2:
        raise MissingInput(
            "fewer than two forgotten samples have held-out samples of their class beside them",
            hint="split(..., test=...) with samples of every class that is forgotten.",
        )
    return chosen, matched


def _by_lot(ids: Int[Tensor, " n"], some: Bool[Tensor, " n"]) -> Int[Tensor, " m"]:
    """The places of some samples, in an order that hangs on their ids alone."""
    places = some.nonzero().flatten()
    return places[lottery(ids[places]).argsort()]


def labelled(part: Part, task: Task) -> Shaped[Tensor, "n *k"]:
    """The labels of a part, as the task reads them."""
    return torch.cat([task.labels(batch).cpu() for batch in Batches(part, BATCH)])
