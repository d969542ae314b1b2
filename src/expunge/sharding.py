"""Train an ensemble in shards, each in slices, and keep where every slice ended.

A shard never sees another's samples. It is trained on its first slice, then on its first two, and
so on; where it stood after each is kept in a folder, under a name that follows from all that it
was made of. Whatever is asked for is read from there if it was made before: a run that was
interrupted goes on, and a shard without some samples is trained again from the last slice that had
none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from safetensors import safe_open
from torch import Tensor, nn

from expunge.batching import data_digest
from expunge.errors import BadSetting
from expunge.fitting import Fit, untaped
from expunge.recipe import Recipe
from expunge.seeding import seeded, stream
from expunge.splitting import Data, Part
from expunge.storing import digest_json, digest_tensors, forget_file, load_tensors, save_tensors
from expunge.tasks.reading import logits_of

Vote = Literal["mean", "majority"]
Slices = Sequence[Int[Tensor, " _"]]

_LEAST = 1e-30  # probability, so that its logarithm is finite


class Ensemble(nn.Module):
    """Models of several shards that answer as one, in logarithms of probabilities."""

    private: ClassVar[tuple[str, ...]] = ("present",)
    present: Tensor

    def __init__(self, shards: Mapping[str, nn.Module], marks: Mapping[str, str], vote: Vote,
                 present: Bool[Tensor, " n"]) -> None:  # fmt: skip
        """Join models of one kind of answer; marks say what each was made of."""
        super().__init__()
        self.shards, self.marks, self.vote = nn.ModuleDict(shards), dict(marks), vote
        self.register_buffer("present", present)

    def forward(self, *args: Any, **named: Any) -> Float[Tensor, "n c"]:
        """Mean probabilities; or votes, of which the mean decides where they are equal."""
        said = [logits_of(shard(*args, **named)).softmax(1) for shard in self.shards.values()]
        chances = torch.stack(said)
        mean = chances.mean(0)
        if self.vote == "majority":
            votes = nn.functional.one_hot(chances.argmax(2), mean.shape[1]).sum(0)
            mean = (votes + mean) / (len(said) + 1)
        return mean.clamp_min(_LEAST).log()


@dataclass(frozen=True)
class Shards:
    """How a dataset is divided, and how the parts are trained."""

    recipe: Recipe
    folder: Path
    source: Data
    shards: int
    slices: int
    seed: int
    device: torch.device | None = None  # None: where the recipe builds
    tally: list[tuple[int, int]] = field(
        default_factory=list
    )  # shards and slices that were trained

    def __post_init__(self) -> None:
        if min(self.shards, self.slices) < 1 or self.shards * self.slices > len(self.source):
            raise BadSetting(
                f"{len(self.source):,} samples cannot be divided into {self.shards} shards of "
                f"{self.slices} slices",
                hint="use at least one of each, and no more of both than there are samples.",
            )

    def divided(self, ids: Int[Tensor, " n"]) -> list[Slices]:
        """These samples by shard and slice; where one belongs hangs on nobody else.

        Sizes differ by one at most before anybody left: no sample is dropped.
        """
        there = torch.zeros(len(self.source), dtype=torch.bool)
        there[ids] = True
        chance = torch.Generator().manual_seed(stream("shards", self.seed))
        order = torch.randperm(len(self.source), generator=chance)
        parts = [shard.tensor_split(self.slices) for shard in order.tensor_split(self.shards)]
        return [[part[there[part]].sort().values for part in shard] for shard in parts]

    def mark(self, shard: int, slices: Slices) -> str:
        """What says of a shard's model all that it was made of, slice by slice."""
        made = [self._made, shard, [digest_tensors({"ids": part}) for part in slices]]
        return digest_json(made)

    @cached_property
    def _made(self) -> str:
        numbers = [self.seed, self.shards, self.slices, self._plain.describe()]
        return digest_json([numbers, data_digest(self.source)])

    @cached_property
    def _plain(self) -> Recipe:
        """The recipe for one slice: together, all take as many steps as it would."""
        recipe = untaped(self.recipe)
        if not isinstance(recipe.fit, Fit):
            return recipe
        epochs = max(1, round(2 * recipe.fit.epochs / (self.slices + 1)))
        return replace(recipe, fit=replace(recipe.fit, epochs=epochs, checkpoint=None))

    def ensemble(
        self, ids: Int[Tensor, " n"], vote: Vote, known: Mapping[str, nn.Module]
    ) -> Ensemble:
        """The ensemble of these samples; models that are known by their mark are taken over."""
        shards, marks = {}, {}
        for k, slices in enumerate(self.divided(ids)):
            if not sum(map(len, slices)):
                continue  # nobody is left who could teach it anything
            mark = marks[str(k)] = self.mark(k, slices)
            shards[str(k)] = known[mark] if mark in known else self._trained(k, slices)
        present = torch.zeros(len(self.source), dtype=torch.bool)
        present[ids] = True
        return Ensemble(shards, marks, vote, present.to(self.device or "cpu")).eval()

    def _trained(self, shard: int, slices: Slices) -> nn.Module:
        """Go on from the last slice that is kept."""
        ends = [j for j in range(len(slices)) if self._path(shard, slices[: j + 1]).exists()]
        first = max(ends, default=-1) + 1
        model = self._start(shard, slices[:first])
        for j in range(first, len(slices)):
            model = self._through(shard, slices[: j + 1], model)
        return model

    def _through(self, shard: int, slices: Slices, model: nn.Module) -> nn.Module:
        """Train on these slices, keep where that ended, and go on from what was kept."""
        ids = torch.cat([*slices]).sort().values
        if not len(ids):
            return model
        with seeded(stream("shards", self.seed, shard, len(slices))), torch.enable_grad():
            trained = self._plain.fit(model, Part(self.source, ids))
        tensors = {f"model.{name}": value for name, value in trained.state_dict().items()}
        save_tensors(self._path(shard, slices), tensors | {"ids": ids}, {"data": self._data})
        self.tally.append((shard, len(slices)))
        return self._start(shard, slices)

    def _start(self, shard: int, slices: Slices) -> nn.Module:
        """A fresh model, or what these slices made of it."""
        with seeded(stream("shards", self.seed, shard)):
            model = self.recipe.build().to(self.device)
        path = self._path(shard, slices)
        if len(slices) and path.exists():
            kept = load_tensors(path)[0]
            del kept["ids"]
            model.load_state_dict({k.removeprefix("model."): v for k, v in kept.items()})
        return model.eval()

    def _path(self, shard: int, slices: Slices) -> Path:
        return self.folder / f"shard-{shard}-{self.mark(shard, slices)[:40]}.safetensors"

    @cached_property
    def _data(self) -> str:
        return data_digest(self.source)

    def purge(self, gone: Int[Tensor, " m"]) -> int:
        """Delete every kept model of this dataset that knows any of these samples."""
        count = 0
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            with safe_open(path, framework="pt") as file:
                own = (file.metadata() or {}).get("data") == self._data
                knows = own and bool(torch.isin(file.get_tensor("ids"), gone).any())
            count += int(knows and forget_file(path))
        return count
