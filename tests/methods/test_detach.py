"""Detach: what held-out probes lose, what the task keeps, and what is refused."""

import json
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, MultiLabel, Regression, Request, split
from expunge.batching import Batches
from expunge.detaching.surveying import survey
from expunge.detaching.witnessing import Witnesses
from expunge.errors import BadSetting, MissingInput, ModelDoesNotFit, RequestDoesNotFit
from expunge.fitting import Fit
from expunge.method import Case
from expunge.methods.detach import Detach
from expunge.splitting import Part
from expunge.unlearning import seeded, unlearn

D, H, GROUPS = 9, 11, 3
BRIEF = {"epochs": 2, "batch": 40, "critics": 2, "critic_steps": 2}


@dataclass(frozen=True)
class People:
    """A label goes with the group of an attribute, and inputs tell both."""

    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor

    @property
    def data(self):
        return TensorDataset(self.x, self.y, self.z)


def drawn(n=200, seed=0, noise=0.8):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(GROUPS, (n,), generator=generator)
    follows = torch.rand(n, generator=generator) < 0.5
    y = torch.where(follows, (z > 0).long(), torch.randint(2, (n,), generator=generator))
    x = noise * torch.randn(n, D, generator=generator)
    x[:, :GROUPS] += 2 * F.one_hot(z, GROUPS)
    x[:, 5] += 3 * y
    return People(x, y, z)


def read(kind=Classification, **attributes):
    given = attributes or {"ink": lambda batch: batch[2]}
    return kind(attributes=given)


def network(outputs=2, middle=()):
    with seeded(3):
        return nn.Sequential(
            nn.Linear(D, 13), *middle, nn.ReLU(), nn.Linear(13, H), nn.ReLU(), nn.Linear(H, outputs)
        )


def outcome(people=None, *, model=None, task=None, names=("ink",), aside=None, **settings):
    people = people or drawn()
    parts = split(
        people.data,
        *(Request(Attribute(name)) for name in names),
        test=drawn(30, 7).data,
        validation=None if aside is None else aside.data,
    )
    how = Detach(**(BRIEF | settings))
    return unlearn(model or network(), parts, how, task=task or read())


def weights(model):
    return torch.cat([p.detach().flatten().double() for p in model.parameters()])


def looked(model, people, task=None):
    """Accuracy, and bits that probes find in the features beyond the label."""
    task, part = task or read(), Part.whole(people.data)
    nobody = Part(part.source, part.indices[:0])
    case = Case((Attribute("ink"),), Batches(nobody), Batches(part), Batches(part), task)
    with seeded(0):
        look = Witnesses.of(case, survey(case)).look(model, 0)
    return look.use, look.leak


@pytest.fixture(scope="module")
def trained():
    people = drawn(500)
    with seeded(1):
        return people, Fit(8, 0.05, 60)(network(), people.data)


@pytest.fixture(scope="module")
def before(trained):
    others = drawn(700, seed=5)
    return others, looked(trained[1], others)


@pytest.mark.parametrize(("erase", "share"), [(True, 0.3), (False, 0.5)])
def test_fresh_probes_find_little_beyond_the_label_and_the_task_stays(
    trained, before, erase, share
):
    people, original = trained
    found = outcome(people, model=original, epochs=5, lr=0.05, strength=5.0, erase=erase)
    others, (use, leak) = before
    now, left = looked(found.after, others)
    assert leak > 0.3
    assert left < share * leak
    assert now > use - 0.03


def test_the_epoch_that_is_kept_is_one_that_held_out_probes_chose(trained):
    people, original = trained
    found = outcome(people, model=original, aside=drawn(150, seed=5), epochs=2)
    leaks = found.traces["held-out leak in bits"]
    assert [epoch for epoch, _ in leaks] == [0, 1, 2]
    assert any("of 2 was kept: held-out probes find" in note for note in found.notes)


def test_notes_say_what_was_done_what_critics_know_and_what_it_cost():
    notes = "\n".join(outcome().notes)
    for word in ("'ink' is 3 groups", "directions are erased", "critics knew", "cost: 2 epochs"):
        assert word in notes
    assert "the last was kept" in notes  # nobody set validation data aside
    settings = Detach(cuts=("1",), paper=(1.0, 0.5, 1.5)).describe()
    assert json.loads(json.dumps(settings))["paper"] == [1.0, 0.5, 1.5]


@pytest.mark.parametrize("cuts", [0, ("1",)])
def test_the_same_seed_gives_the_same_bits(cuts):
    one, other = (weights(outcome(cuts=cuts).after) for _ in range(2))
    assert torch.equal(one, other)


def test_the_papers_weights_are_understood():
    paper, ours = outcome(paper=(2.0, 0.5, 1.5)), outcome(keep_x=1.0, keep_y=1.0, strength=2.0)
    assert torch.equal(weights(paper.after), weights(ours.after))


@pytest.mark.parametrize("estimator", ["vclub", "minmax", "reversal"])
@pytest.mark.parametrize("condition", ["task", "nothing"])
def test_every_estimator_learns_with_and_without_the_label(estimator, condition):
    found = outcome(estimator=estimator, condition_on=condition, epochs=1)
    assert not torch.equal(weights(found.before), weights(found.after))


def test_modules_between_cuts_learn_though_no_gradient_passes():
    model = network()
    found = outcome(model=model, cuts=2, distil=0.0, erase=False)
    for (name, old), new in zip(model.named_parameters(), found.after.parameters(), strict=True):
        assert not torch.equal(old, new), name
    assert any("no gradient passed after" in note for note in found.notes)


def test_a_connection_around_a_cut_is_refused():
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(D, H), nn.Linear(H, H)
            self.third, self.head = nn.Linear(H, 5), nn.Linear(5, 2)

        def forward(self, x):
            x = self.first(x).relu()
            return self.head(self.third(x + self.second(x).relu()).relu())

    with pytest.raises(ModelDoesNotFit, match="leads around the cut"):
        outcome(model=Skipping(), cuts=("second",))


def test_several_attributes_go_at_once_groups_and_numbers_and_missing_ones_too():
    people = drawn()
    height = people.x[:, 7].clone()
    height[::6] = torch.nan
    groups = torch.where(torch.arange(200) % 5 == 0, -1, people.z)
    data = TensorDataset(people.x, people.y, groups, height)
    task = read(ink=lambda batch: batch[2], height=lambda batch: batch[3])
    parts = split(data, *(Request(Attribute(n)) for n in ("ink", "height")), test=data)
    found = unlearn(network(), parts, Detach(**BRIEF), task=task)
    told = [note for note in found.notes if "bits of" in note]
    assert ["'ink'" in told[0], "'height'" in told[1]] == [True, True]
    assert "'height' is a number" in "\n".join(found.notes)


@pytest.mark.parametrize("kind", ["several classes", "multilabel", "regression"])
def test_other_tasks_are_served(kind):
    people = drawn()
    columns = torch.stack([people.y, people.x[:, 6] > 0], 1)
    y, task, outputs = {
        "several classes": (columns.long() @ torch.tensor([1, 2]), read(), 4),
        "multilabel": (columns.float(), read(MultiLabel), 2),
        "regression": (people.x[:, 5:6] + people.x[:, :1], read(Regression), 1),
    }[kind]
    some = People(people.x, y, people.z)
    model = network(outputs)
    found = outcome(some, model=model, task=task, cuts=("1",), aside=None, epochs=4, lr=0.05)
    batch = (some.x, some.y, some.z)
    with torch.no_grad():
        before, after = (task.loss(m.eval(), batch).mean() for m in (model, found.after))
    assert after < before


def test_batches_may_be_dictionaries():
    class Named(torch.utils.data.Dataset):
        people = drawn(80)

        def __len__(self):
            return 80

        def __getitem__(self, k):
            return {"x": self.people.x[k], "y": self.people.y[k], "ink": self.people.z[k]}

    task = Classification(
        inputs=lambda batch: batch["x"],
        labels=lambda batch: batch["y"],
        attributes={"ink": lambda batch: batch["ink"]},
    )
    parts = split(Named(), Request(Attribute("ink")), test=Named())
    found = unlearn(network(), parts, Detach(**BRIEF), task=task)
    assert not torch.equal(weights(found.before), weights(found.after))


@pytest.mark.parametrize("count", [121, 122, 41])
def test_normalised_layers_bear_any_last_batch(count):
    found = outcome(drawn(count), model=network(middle=[nn.BatchNorm1d(13)]), cuts=("2",))
    assert weights(found.after).isfinite().all()
    assert not any(module.training for module in found.after.modules())


def test_tied_weights_stay_tied():
    with seeded(0):
        first, second = nn.Linear(D, D), nn.Linear(D, D)
        second.weight = first.weight
        model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(D, 2))
    after = outcome(model=model, erase=False).after
    assert after[0].weight is after[2].weight
    assert not torch.equal(after[0].weight, first.weight)


def test_frozen_layers_stay_as_they_are():
    model = network()
    model[0].requires_grad_(requires_grad=False)
    after = outcome(model=model, cuts=("1",)).after
    assert torch.equal(after[0].weight, model[0].weight)
    assert not after[0].weight.requires_grad


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda p: torch.full_like(p.z, 2), "'ink' is 2"),
        (lambda p: torch.full_like(p.z, -1), "no retained sample answers"),
        (lambda p: p.y, "removes the task"),
        (lambda p: torch.full_like(p.x[:, 0], torch.nan), "no retained sample answers"),
    ],
    ids=["constant", "missing", "label", "missing numbers"],
)
def test_what_cannot_be_removed_is_refused(change, word):
    people = drawn()
    with pytest.raises(RequestDoesNotFit, match=word):
        outcome(People(people.x, people.y, change(people)))


def test_a_task_of_one_class_is_served():
    people = drawn()
    found = outcome(People(people.x, people.y * 0, people.z))
    assert weights(found.after).isfinite().all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"paper": (1.0, 0.5, 0.5)},
        {"keep_y": 0.0},
        {"epochs": 0},
        {"lr": 0.0},
        {"critics": 0},
        {"critic_steps": 0},
    ],
    ids=str,
)
def test_settings_with_which_nothing_would_be_removed_or_learned_are_refused(wrong):
    with pytest.raises(BadSetting):
        outcome(**wrong)


def test_a_model_without_features_is_refused():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return x[:, :2] * self.scale

    with pytest.raises((MissingInput, ModelDoesNotFit)):
        outcome(model=Bare(), erase=False, distil=0.0)
