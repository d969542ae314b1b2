"""What models make of held-out samples, layer by layer."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.errors import BatchUnreadable, MissingInput
from expunge.representing import FEATURES, LOGITS, drawing, inputs_of, represent, untrained
from expunge.reserving import reserve

N, D, C = 300, 4, 3
TASK = Classification(attributes={"sign": lambda batch: batch[2]})


def held(x=None, z=None):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=draw) if x is None else x
    z = (x.flatten(1)[:, 0] > 0).long() if z is None else z
    test = TensorDataset(x, torch.arange(N) % C, z)
    parts = split(TensorDataset(x[:5], torch.arange(5) % C), Request(Attribute("sign")), test=test)
    return reserve(parts, TASK, ["sign"])


def net():
    with drawing(1):
        body = nn.Sequential(nn.Linear(D, 7), nn.ReLU())
        return nn.Sequential(body, nn.Dropout(0.5), nn.Linear(7, C))


def everything(found):
    return torch.cat([batch[0] for batch in found.batches()])


def test_a_model_is_read_at_its_features_its_logits_and_named_layers():
    found, model = held(), net()
    places = represent(model, found, TASK, ["0.0", "0"])
    x = everything(found)
    model.eval()
    torch.testing.assert_close(places["0.0"], model[0][0](x).detach())
    torch.testing.assert_close(places["0"], places[FEATURES])
    torch.testing.assert_close(places[LOGITS], model(x).detach())
    assert set(places) == {FEATURES, LOGITS, "0.0", "0"}


def test_reading_leaves_nothing_behind():
    model = net().train()
    represent(model, held(), TASK, ["0"])
    assert all(module.training for module in model.modules())
    assert not model[0]._forward_hooks


def test_a_layer_that_a_model_has_not_is_no_place():
    assert set(represent(net(), held(), TASK, ["7"])) == {FEATURES, LOGITS}


def test_large_maps_become_means_over_squares():
    class Pictures(nn.Module):
        def __init__(self):
            super().__init__()
            self.large, self.head = nn.Identity(), nn.Linear(1, C)

        def forward(self, x):
            return self.head(self.large(x).mean((1, 2, 3))[:, None])

    x = torch.randn(N, 2, 64, 64, generator=torch.Generator().manual_seed(1))
    found = held(x=x)
    rows = represent(Pictures(), found, TASK, ["large"])["large"]
    want = x.view(N, 2, 32, 2, 32, 2).mean((3, 5)).flatten(1)
    torch.testing.assert_close(rows, want)
    torch.testing.assert_close(inputs_of(found, TASK), want)


def test_a_layer_without_a_row_a_sample_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.turned, self.head = nn.Identity(), nn.Linear(D, C)

        def forward(self, x):
            return self.head(self.turned(x.T).T)

    with pytest.raises(BatchUnreadable, match="'turned'"):
        represent(Odd(), held(), TASK, ["turned"])


def test_features_that_are_not_finite_are_told():
    model = net()
    with torch.no_grad():
        model[0][0].bias[0] = torch.inf
    with pytest.raises(MissingInput, match="not all numbers of the feature layer are finite"):
        represent(model, held(), TASK)


def test_inputs_that_are_no_numbers_cannot_be_probed():
    with pytest.raises(MissingInput, match="floating-point"):
        inputs_of(held(x=torch.ones(N, D).long(), z=torch.arange(N) % 2), TASK)


def test_an_untrained_model_is_always_the_same_and_disturbs_no_draw():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, other = (untrained(lambda: nn.Linear(3, 2), torch.device("cpu")) for _ in range(2))
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(MissingInput, match="no way to build"):
        untrained(None, torch.device("cpu"))
