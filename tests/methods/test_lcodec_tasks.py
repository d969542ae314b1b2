"""L-CODEC on every kind of answer and input: pictures, texts, mappings, several labels, numbers."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from expunge import Classification, MultiLabel, Regression, Request, Samples, split
from expunge.methods.lcodec import Lcodec
from expunge.perturbing import Tokens
from expunge.unlearning import seeded, unlearn

N, D, WORDS = 34, 8, 13
GONE = (3, 5)


def numbers(*shape):
    return torch.randn(N, *shape, generator=torch.Generator().manual_seed(0))


def ids():
    return torch.randint(0, WORDS, (N, 7), generator=torch.Generator().manual_seed(1))


def classes():
    return torch.arange(N) % 3


class Reading(nn.Module):
    """Words in context: one head of attention over them."""

    def __init__(self):
        super().__init__()
        self.words, self.mix, self.head = nn.Embedding(WORDS, 6), nn.Linear(6, 18), nn.Linear(6, 3)

    def forward(self, input_ids, attention_mask=None):
        q, k, v = self.mix(self.words(input_ids)).chunk(3, -1)
        mask = None if attention_mask is None else attention_mask.bool()[:, None]
        seen = nn.functional.scaled_dot_product_attention(q, k, v, mask)
        return {"logits": self.head(seen.mean(1))}


class Named(Dataset):
    """Texts and their labels as mappings."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        long = torch.arange(7) < 4 + index % 4
        return {"input_ids": ids()[index], "attention_mask": long.long(), "label": index % 3}


def network(width=D, out=3):
    return nn.Sequential(nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, out))


def convolution():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3)
    )


def read(batch):
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


CASES = {
    "classes": (network, TensorDataset(numbers(D), classes()), Classification()),
    "labels": (network, TensorDataset(numbers(D), (numbers(3) > 0).float()), MultiLabel()),
    "numbers": (network, TensorDataset(numbers(D), numbers(3)), Regression()),
    "pictures": (convolution, TensorDataset(numbers(2, 5, 5), classes()), Classification()),
    "texts": (Reading, TensorDataset(ids(), classes()), Classification()),
    "mappings": (
        Reading,
        Named(),
        Classification(inputs=read, labels=lambda batch: batch["label"]),
    ),
}


def forgotten(name, **settings):
    build, data, task = CASES[name]
    with seeded(0):
        model = build()
    parts = split(data, Request(Samples(GONE)), test=data, validation=data)
    method = Lcodec(**{"perturbations": 48, "utility_drop": 9.0, "max_features": 4, **settings})
    return unlearn(model, parts, method, task=task)


@pytest.mark.parametrize("curvature", ["ggn", "fisher"])
@pytest.mark.parametrize("name", CASES)
def test_samples_of_every_kind_are_taken_out(name, curvature):
    outcome = forgotten(name, curvature=curvature)
    before, after = (dict(outcome.traces[f"{when} loss"]) for when in ("before", "after"))
    assert "2 of 2 samples were taken out" in outcome.notes
    assert all(after[place] > before[place] for place in (1, 2))


@pytest.mark.parametrize("name", ["texts", "pictures"])
def test_attention_and_convolutions_have_a_hessian_too(name):
    outcome = forgotten(name, curvature="hessian", damping=2.0, at_once=0, max_features=1)
    assert "2 of 2 samples were taken out" in outcome.notes


@pytest.mark.parametrize("name", ["texts", "mappings"])
def test_tokens_that_the_user_knows_better_may_be_given(name):
    outcome = forgotten(name, perturb=Tokens(WORDS, lowest=2, count=2), curvature="none")
    assert "2 of 2 samples were taken out" in outcome.notes


def test_a_perturbation_of_ones_own_sees_the_inputs_and_gives_others():
    asked = []

    def shifted(inputs):
        asked.append(inputs)
        return inputs + torch.linspace(-1, 1, len(inputs))[:, None]

    outcome = forgotten("classes", perturb=shifted)
    assert "2 of 2 samples were taken out" in outcome.notes
    theirs = CASES["classes"][1].tensors[0]
    assert [len(inputs) for inputs in asked] == [48, 48]
    for place, inputs in zip(GONE, asked, strict=True):
        assert torch.equal(inputs, theirs[place].expand(48, D))


def test_a_loss_that_no_perturbation_moves_is_told():
    outcome = forgotten("classes", perturb=lambda inputs: inputs)
    assert outcome.notes == (
        "nothing moved for samples 1, 2 of the 2 that must go: their loss never changed",
        "0 of 2 samples were taken out",
    )


def test_embeddings_and_statistics_are_no_units():
    outcome = forgotten("texts", curvature="fisher", max_features=30)
    assert torch.equal(outcome.after.words.weight, outcome.before.words.weight)
    outcome = forgotten("pictures", curvature="fisher", max_features=30)
    state = outcome.after[1].state_dict()
    assert all(torch.equal(v, state[name]) for name, v in outcome.before[1].state_dict().items())


def test_without_validation_data_the_notes_say_what_was_measured():
    build, data, task = CASES["classes"]
    parts = split(data, Request(Samples(GONE)), test=data)
    outcome = unlearn(build(), parts, Lcodec(perturbations=48, utility_drop=1.0), task=task)
    assert "measured on retained samples" in outcome.notes[0]
    assert "validation accuracy" not in outcome.traces
    places = [place for place, _ in outcome.traces["retain accuracy"]]
    assert places == list(range(len(GONE) + 1)), "at the start, and after every sample"
