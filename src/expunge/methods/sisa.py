"""SISA: train in shards and slices, so that to forget is to train one shard again, from a slice on.

Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie and Papernot, "Machine
Unlearning", 2021. ``Sisa(recipe, folder).train(data)`` makes the model: an ensemble of one network
a shard. Its folder keeps where each slice ended, and ``forget`` trains affected shards again from
the last slice that knew nobody who leaves: bit for bit what training without them gives. What
differs: sizes that do not divide leave no remainder out; samples are put into shards at random,
where the paper also shows an order by how likely they leave; and a shard that nobody is left in
does not vote. Kept models that know the forget set are deleted from the folder.

Every slice takes as many epochs that all together cost what the recipe costs, if it has the Fit of
expunge: 2e/(slices + 1), as in the paper; any other fit is called once a slice as it is. Forgetting
one sample costs a shard's share of that, half of it on average; a class costs all of it. Answering
costs a forward pass a shard.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.optim import SGD
from torch.utils.data import Dataset

from expunge.errors import ModelDoesNotFit
from expunge.method import Case, Method
from expunge.observing import device_of
from expunge.recipe import Recipe
from expunge.reheading import parted, silent
from expunge.sharding import Ensemble, Shards, Vote
from expunge.splitting import Data, Part
from expunge.tasks import Kind


@dataclass(frozen=True)
class Sisa(Method):
    """Train affected shards of an ensemble again, from the last slice without the forget set."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    reshapes: ClassVar[bool] = True

    recipe: Recipe  # how to build and train the model of a shard
    folder: Path | str  # where each slice ended; a folder of its own
    shards: int = 4  # models, each of its own samples
    slices: int = 4  # of a shard, trained one after another
    vote: Vote = "mean"  # of probabilities; or of the answers: majority
    seed: int = 0  # of the division and of training; it must stay what it was
    foreign: Literal["refuse", "train"] = "refuse"  # a model that it did not train

    def train(self, data: Data, device: torch.device | None = None) -> nn.Module:
        """An ensemble of this dataset or part; what the folder holds already is not made again."""
        part = data if isinstance(data, Part) else Part.whole(data)
        return self._shards(part.source, device).ensemble(part.indices, self.vote, {})

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        work = self._shards(case.retain.part.source, device_of(model))
        known: dict[str, nn.Module] = {}
        gone, stays = case.forget.part.indices, case.retain.part.indices
        if isinstance(model, Ensemble):
            gone, stays = parted(model.present, case)
            self._check(model, work)
            known = {mark: model.shards[k] for k, mark in model.marks.items()}
        elif self.foreign == "refuse":
            raise ModelDoesNotFit(
                f"the model is a {type(model).__name__}, and no ensemble that Sisa trained",
                hint="train it by Sisa(recipe, folder).train(data), or set foreign=train to train "
                "an ensemble on the retain set alone.",
            )
        after = work.ensemble(stays, self.vote, known)
        purged = work.purge(case.forget.part.indices)
        case.report.note(
            f"{len({shard for shard, _ in work.tally})} of {self.shards} shards and "
            f"{len(work.tally)} of {self.shards * self.slices} slices were trained again for "
            f"{len(gone):,} samples; {purged} kept models that knew them were deleted"
        )
        return silent(after)

    def describe(self) -> dict[str, Any]:
        """The settings as JSON; where slices are kept changes nothing."""
        return {k: v for k, v in super().describe().items() if k != "folder"}

    def _shards(self, source: Data, device: torch.device | None) -> Shards:
        return Shards(
            self.recipe, Path(self.folder), source, self.shards, self.slices, self.seed, device
        )

    def _check(self, model: Ensemble, work: Shards) -> None:
        """Refuse an ensemble that these settings would not have trained."""
        present = model.present.cpu().nonzero().flatten()
        made = {
            str(k): work.mark(k, slices)
            for k, slices in enumerate(work.divided(present))
            if sum(map(len, slices))
        }
        if made != model.marks:
            raise ModelDoesNotFit(
                "the ensemble was trained by another recipe, seed or division, or on other data",
                hint="use the settings that it was trained with.",
            )

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "Sisa":
        """Train the contract suite's toy in a few shards, by an epoch of plain descent a slice."""
        from copy import deepcopy  # noqa: PLC0415 - only the contract suite needs it

        def fit(fresh: nn.Module, dataset: Dataset[Any]) -> nn.Module:
            optimizer = SGD([p for p in fresh.parameters() if p.requires_grad], lr=0.1)
            batch = case.retain.take(dataset.indices)  # type: ignore[attr-defined]
            case.task.loss(fresh, batch).mean().backward()
            optimizer.step()
            return fresh

        recipe = Recipe(lambda: deepcopy(model), fit, name="example")
        return cls(recipe, folder / "shards", shards=3, slices=2, foreign="train")
