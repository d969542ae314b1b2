"""Cuts: no gradient passes, memory is needed for a module at a time, and nothing leads around."""

import pytest
import torch
from torch import nn

from expunge import Classification
from expunge.detaching.cutting import Cuts, cuts
from expunge.errors import BadSetting, ModelDoesNotFit, UnknownName
from expunge.problems.networks import resnet18
from expunge.unlearning import seeded

TASK = Classification()


def batch(n=6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 7, generator=generator), torch.arange(n) % 2


def residual():
    with seeded(0):
        return resnet18(width=4, classes=2)


def pictures(n=6):
    return torch.rand(n, 3, 9, 9, generator=torch.Generator().manual_seed(1)), torch.arange(n) % 2


class Skipping(nn.Module):
    """A second layer whose input is added to its output."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(7, 11), nn.Linear(11, 11)
        self.third, self.head = nn.Linear(11, 5), nn.Linear(5, 2)

    def forward(self, x):
        x = self.first(x).relu()
        return self.head(self.third(x + self.second(x).relu()).relu())


class Peeking(nn.Module):
    """A head that sees the inputs beside the features."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(7, 4), nn.Linear(11, 2)

    def forward(self, x):
        return self.head(torch.cat([self.body(x), x], 1))


class Reading(nn.Module):
    """Two layers look the words up: one before the first layer, one after it."""

    def __init__(self, *, again):
        super().__init__()
        self.words, self.places = nn.Embedding(9, 7), nn.Embedding(3, 11)
        self.again = nn.Embedding(9, 11) if again else None
        self.body, self.third, self.head = nn.Linear(7, 11), nn.Linear(11, 5), nn.Linear(5, 2)

    def forward(self, ids):
        x = self.body(self.words(ids)).relu() + self.places(torch.arange(ids.shape[1]))
        x = x if self.again is None else x + self.again(ids)
        return self.head(self.third(x.mean(1)).relu())


def test_no_gradient_crosses_a_cut(network):
    parts, x = cuts(network, TASK, batch(), ("1",)), batch()[0]
    seen = []
    with parts.open(lambda k, h: seen.append((k, h))):
        network(x).square().sum().backward()
    assert network[0].weight.grad is None
    assert network[2].weight.grad.any()
    ((k, h),) = seen
    assert k == 0
    h.sum().backward()
    assert network[0].weight.grad.any()


def test_a_module_feels_its_own_loss_and_no_other(network):
    parts, x = cuts(network, TASK, batch(), ("1", "2")), batch()[0]
    with parts.open(lambda k, h: (10.0**k * h).sum().backward()):
        network(x)
    found = [network[k].weight.grad.clone() for k in (0, 2)]
    network.zero_grad()
    h = network[:2](x)
    h.sum().backward()
    torch.testing.assert_close(found[0], network[0].weight.grad)
    (10 * network[2](h.detach())).sum().backward()
    torch.testing.assert_close(found[1], network[2].weight.grad)


def test_a_cut_changes_no_answer_and_leaves_no_hook(network):
    x = batch()[0]
    with cuts(network, TASK, batch(), 1).open(lambda _k, _h: None):
        cut = network(x)
    assert torch.equal(cut, network(x))
    assert not any(m._forward_hooks for m in network.modules())
    with (
        pytest.raises(ZeroDivisionError),
        cuts(network, TASK, batch(), 1).open(lambda _k, _h: 1 / 0),
    ):
        network(x)
    assert not any(m._forward_hooks for m in network.modules())


@pytest.mark.parametrize(("model", "name"), [(Skipping, "second"), (Peeking, "body")])
def test_a_connection_around_a_cut_is_found_and_refused(model, name):
    task = Classification(layer="third") if model is Skipping else Classification()
    with pytest.raises(ModelDoesNotFit, match=f"leads around the cut after '{name}'"):
        cuts(model(), task, batch(), (name,))


@pytest.mark.parametrize("shape", ["mapping", "nest", "two", "computed"])
def test_a_connection_around_a_cut_is_found_in_whatever_way_inputs_are_given(shape):
    class Given(Peeking):
        def forward(self, x, *_):
            return super().forward(x[0]["x"] if shape == "nest" else x)

    x, y = batch()
    data, inputs = {
        "mapping": ({"x": x, "y": y}, lambda b: {"x": b["x"]}),
        "nest": ({"x": x, "y": y}, lambda b: {"x": [{"x": b["x"]}]}),
        "two": ({"x": x, "y": y}, lambda b: (b["x"], b["y"])),
        "computed": ({"x": x, "y": y}, lambda b: b["x"] / 2),
    }[shape]
    task = Classification(inputs=inputs, labels=lambda b: b["y"])
    with pytest.raises(ModelDoesNotFit, match="leads around the cut after 'body'"):
        cuts(Given(), task, data, ("body",))
    assert not x.requires_grad


@pytest.mark.parametrize("frozen", [False, True])
def test_words_that_are_looked_up_again_lead_around_a_cut_and_their_places_do_not(frozen):
    words = (
        torch.randint(9, (6, 3), generator=torch.Generator().manual_seed(0)),
        torch.arange(6) % 2,
    )
    assert [*cuts(Reading(again=False), TASK, words, ("body",)).layers] == ["body"]
    model = Reading(again=True)
    model.words.requires_grad_(requires_grad=not frozen)
    with pytest.raises(ModelDoesNotFit, match="leads around the cut after 'body'"):
        cuts(model, TASK, words, ("body",))
    assert [*cuts(model, TASK, words, ("third",)).layers] == ["third"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_first_layer_may_overwrite_its_inputs():
    model, (x, y) = nn.Sequential(nn.ReLU(inplace=True), *Skipping().children()), batch()
    seen = x.clone()
    assert [*cuts(model, TASK, (x, y), ("1",)).layers] == ["1"]
    assert torch.equal(x, seen)


def test_a_layer_on_a_connection_is_no_place_to_cut_though_it_changes_nothing():
    with pytest.raises(ModelDoesNotFit, match=r"leads around the cut after '3.skip'"):
        cuts(residual(), TASK, pictures(), ("3.skip",))
    assert [*cuts(residual(), TASK, pictures(), 3).layers] == ["3", "5", "7"]


def test_a_residual_network_learns_in_modules():
    network, (x, y) = residual(), pictures()
    parts = cuts(network, TASK, (x, y), 3)
    with parts.open(lambda _k, h: h.sum().backward()):
        network(x).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_model_can_be_cut_before_and_after_what_is_skipped():
    assert [*cuts(Skipping(), TASK, batch(), ("first", "third")).layers] == ["first", "third"]


def test_weights_that_are_used_on_both_sides_of_a_cut_are_refused():
    network = nn.Sequential(nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 2))
    network[2].weight = network[0].weight
    with pytest.raises(ModelDoesNotFit, match="leads around the cut after '1'"):
        cuts(network, TASK, batch(), ("1",))


def test_cuts_that_are_counted_share_out_what_is_kept_and_avoid_connections():
    wide = nn.Sequential(*[nn.Linear(7, 7) for _ in range(8)], nn.Linear(7, 2))
    assert [*cuts(wide, TASK, batch(), 3).layers] == ["1", "3", "5"]
    assert "second" not in cuts(Skipping(), TASK, batch(), 1).layers


def test_more_cuts_than_can_be_made_are_refused(network):
    with pytest.raises(ModelDoesNotFit, match="cannot be cut 2 times"):
        cuts(Peeking(), Classification(), batch(), 2)
    with pytest.raises(ModelDoesNotFit, match="cannot be cut 9 times"):
        cuts(network, TASK, batch(), 9)
    with pytest.raises(ModelDoesNotFit, match="cannot be cut 1 times"):
        cuts(nn.Linear(7, 2), TASK, batch(), 1)


def test_names_of_no_layer_and_of_layers_after_the_features_are_refused(network):
    with pytest.raises(UnknownName, match="layer"):
        cuts(network, TASK, batch(), ("7",))
    for name in ("3", "4"):
        with pytest.raises(BadSetting, match="between the inputs and the feature layer"):
            cuts(network, TASK, batch(), (name,))


def test_a_layer_that_runs_twice_is_refused():
    shared = nn.ReLU()
    network = nn.Sequential(nn.Linear(7, 5), shared, nn.Linear(5, 3), shared, nn.Linear(3, 2))
    with pytest.raises(BadSetting, match="runs 2 times"):
        cuts(network, TASK, batch(), ("1",))


def most_kept(run):
    """The most bytes that a run keeps for backward passes at any moment."""
    kept = {"now": 0, "most": 0}

    class Held:
        def __init__(self, x):
            self.x, self.size = x, x.numel() * x.element_size()
            kept["now"] += self.size
            kept["most"] = max(kept.values())

        def __del__(self):
            kept["now"] -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.x):
        run()
    return kept["most"]


def test_with_four_modules_a_third_of_the_memory_is_enough():
    deep = nn.Sequential(
        *[layer for _ in range(12) for layer in (nn.Linear(40, 40), nn.Tanh())], nn.Linear(40, 2)
    )
    x = torch.randn(300, 40)
    few = (x[:5], torch.arange(5) % 2)
    parts = cuts(deep, TASK, few, 3)

    def in_parts():
        with parts.open(lambda _k, h: h.sum().backward()):
            deep(x).sum().backward()

    assert most_kept(in_parts) < 0.35 * most_kept(lambda: deep(x).sum().backward())


def test_without_a_name_nothing_is_cut(network):
    with Cuts({}, torch.Size()).open(lambda _k, _h: pytest.fail("there is no cut")):
        network(batch()[0]).sum().backward()
    assert network[0].weight.grad.any()
