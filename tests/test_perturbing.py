"""Perturbations: noise on numbers, other tokens in texts, and nothing else."""

import pytest
import torch
from torch import nn

from expunge.errors import BadSetting
from expunge.perturbing import Gaussian, Tokens, perturbation

FIRST, LAST = 3, 11  # of the tokens that may be drawn


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def texts(n=200, length=7):
    """Samples whose tokens lie below those that may be drawn, so that every change shows."""
    return torch.randint(0, FIRST, (n, length))


def as_tensor(ids):
    return ids


def as_pair(ids):
    return ids, torch.zeros(len(ids), 2)


def as_mapping(ids):
    return {"weight": torch.zeros(len(ids), 2), "input_ids": ids}


def as_words(ids):
    return {"weight": torch.zeros(len(ids), 2), "words": ids}


def as_attended(ids):
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


FORMS = [as_tensor, as_pair, as_mapping, as_words, as_attended]


def ids_of(inputs):
    if isinstance(inputs, dict):
        return inputs.get("input_ids", inputs.get("words"))
    return inputs[0] if isinstance(inputs, tuple) else inputs


def test_gaussian_noise_is_as_wide_as_asked_and_another_for_every_number():
    x = torch.full((150, 40), 5.0)
    noise = Gaussian(0.3)(x) - x
    assert noise.mean().item() == pytest.approx(0.0, abs=5 * 0.3 / 6000**0.5)
    assert noise.std().item() == pytest.approx(0.3, abs=5 * 0.3 / 12000**0.5)
    assert noise.unique().numel() > 5000
    assert torch.equal(x, torch.full((150, 40), 5.0))


def test_gaussian_noise_reaches_every_number_of_a_nest_and_no_token():
    ids = texts()
    found = Gaussian()({"pixels": [torch.zeros(4, 2), torch.zeros(4, 3).double()], "ids": ids})
    assert [leaf.dtype for leaf in found["pixels"]] == [torch.float, torch.double]
    assert all((leaf != 0).all() for leaf in found["pixels"])
    assert found["ids"] is ids


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [1, 4])
def test_as_many_tokens_as_asked_change_and_are_in_range(form, count):
    ids = texts()
    kept = ids.clone()
    found = ids_of(Tokens(LAST, FIRST, count)(form(ids)))
    changed = found != ids
    assert (changed.sum(1) == count).all()
    assert not changed[:, 0].any()
    assert changed[:, 1:].any(0).all()
    assert sorted(found[changed].unique().tolist()) == [*range(FIRST, LAST)]
    assert found.dtype == ids.dtype
    assert torch.equal(ids, kept)


@pytest.mark.parametrize("form", [as_pair, as_mapping, as_attended])
def test_what_is_no_token_is_passed_on_as_it_is(form):
    inputs = form(texts())
    found = Tokens(LAST, FIRST)(inputs)
    assert type(found) is type(inputs)
    theirs = zip(inputs, found, strict=True) if isinstance(inputs, tuple) else ()
    mapped = inputs.items() if isinstance(inputs, dict) else ()
    same = [a is b for a, b in theirs] + [found[name] is leaf for name, leaf in mapped]
    assert same.count(False) == 1


def test_only_attended_tokens_change_and_as_many_as_there_are():
    ids = texts()
    attended = (torch.arange(7) < 1 + torch.arange(200)[:, None] % 5).long()
    found = Tokens(LAST, FIRST, 3)({"input_ids": ids, "attention_mask": attended})["input_ids"]
    changed = found != ids
    assert not (changed & (attended == 0)).any()
    assert torch.equal(changed.sum(1), (attended.sum(1) - 1).clamp(max=3))


def test_a_text_of_one_token_stays():
    ids = texts(length=1)
    assert torch.equal(Tokens(LAST, FIRST, 2)(ids), ids)


class Reading(nn.Module):
    """A text model that knows eleven words, and more places than words."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(LAST, 4), nn.Embedding(90, 4)

    def forward(self, ids):
        return (self.words(ids) + self.places(torch.arange(ids.shape[1]))).mean((1, 2))


def test_by_itself_numbers_get_noise_and_texts_other_tokens():
    assert perturbation("auto", nn.Linear(2, 3), torch.zeros(5, 2), deviation=0.7) == Gaussian(0.7)
    assert perturbation("auto", Reading(), texts(), deviation=0.7) == Tokens(LAST)
    assert perturbation("tokens", Reading(), texts(), deviation=0.7) == Tokens(LAST)


def test_a_text_is_a_text_though_its_mask_is_written_as_numbers():
    model = nn.Embedding(9, 2)
    inputs = {"input_ids": texts(), "attention_mask": torch.ones(200, 7)}
    assert perturbation("auto", model, inputs, deviation=0.1) == Tokens(9)


def test_tokens_that_are_drawn_are_tokens_that_the_model_knows():
    model, ids = Reading(), texts()
    change = perturbation("auto", model, ids, deviation=0.1)
    assert not torch.equal(model(change(ids)), model(ids))
    assert max(int(change(ids).max()) for _ in range(20)) == LAST - 1


def test_a_function_is_taken_as_it_is():
    assert perturbation(torch.flip, nn.Linear(2, 3), texts(), deviation=0.1) is torch.flip


@pytest.mark.parametrize(
    ("kind", "model", "inputs", "why"),
    [
        ("gaussian", Reading(), torch.zeros(3, 5).long(), "no floating-point numbers"),
        ("tokens", nn.Linear(2, 3), torch.zeros(3, 5).long(), "has no embedding"),
        ("auto", nn.Linear(2, 3), torch.zeros(3, 5).long(), "has no embedding"),
    ],
)
def test_what_cannot_be_perturbed_is_refused_with_a_way_out(kind, model, inputs, why):
    with pytest.raises(BadSetting, match=why) as caught:
        perturbation(kind, model, inputs, deviation=0.1)
    assert "perturb=" in caught.value.hint


def test_a_mapping_without_whole_numbers_holds_no_tokens():
    with pytest.raises(BadSetting, match=r"\['pixels'\] hold no whole numbers"):
        Tokens(LAST)({"pixels": torch.zeros(3, 2)})
