"""The representation is found in one forward pass, however the model was put together."""

import pytest
import torch
from torch import nn

from expunge import Classification
from expunge.errors import BatchUnreadable, MissingInput

N, D, H, C = 7, 5, 4, 3
X = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
BATCH = (X, torch.arange(N) % C)


class Net(nn.Module):
    """Registered in another order than it runs, with a detour as wide as the answer."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(H, C)
        self.detour = nn.Linear(D, C)
        self.body = nn.Linear(D, H)
        self.unused = nn.Linear(D, H)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.detour(x)
        return self.head(self.body(x).tanh())


def features(model, layer="auto", batch=BATCH):
    return Classification(layer=layer).answer(model, batch).embedding


def test_auto_is_the_input_of_the_last_linear_to_run_not_the_last_registered():
    model = Net()
    torch.testing.assert_close(features(model), model.body(X).tanh())


@pytest.mark.parametrize("last", [nn.Identity(), nn.LogSoftmax(1)], ids=["logits", "log-softmax"])
def test_auto_takes_the_layer_that_makes_the_answers_and_no_other_head_of_their_width(last):
    class Aided(Net):
        def forward(self, x):
            answer = last(super().forward(x))
            self.detour(2 * x)  # an auxiliary head, the last to run
            return answer

    model = Aided()
    torch.testing.assert_close(features(model), model.body(X).tanh())


def test_logits_and_features_come_from_one_forward_pass():
    model = Net()
    answer = Classification(layer="body").answer(model, BATCH)
    assert model.calls == 1
    torch.testing.assert_close(answer.logits, model(X))


def test_a_named_layer_is_its_output_flattened():
    model = nn.Sequential(
        nn.Unflatten(1, (1, D)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(6, C)
    )
    assert features(model, "1").shape == (N, 6)
    torch.testing.assert_close(features(model, "1"), features(model))


def test_a_nested_layer_has_a_dotted_name():
    model = nn.Sequential(nn.Sequential(nn.Linear(D, H), nn.ReLU()), nn.Linear(H, C))
    torch.testing.assert_close(features(model, "0.1"), features(model))


def test_a_bare_linear_answers_and_its_input_is_its_representation():
    model = nn.Linear(D, C)
    answer = Classification().answer(model, BATCH)
    torch.testing.assert_close(answer.logits, model(X))
    assert answer.embedding.equal(X)


def test_without_a_linear_only_features_are_missing_and_layers_are_named():
    model = nn.Sequential(nn.Unflatten(1, (D, 1)), nn.Conv1d(D, C, 1), nn.Flatten())
    answer = Classification().answer(model, BATCH)
    assert answer.logits.shape == (N, C)
    with pytest.raises(MissingInput, match="last Linear was not to be found") as caught:
        _ = answer.embedding
    assert "['0', '1', '2']" in caught.value.hint


class Functional(nn.Module):
    """Computes by itself what layers are for."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C, D))
        self.blocks = nn.ModuleList()

    def forward(self, x):
        return nn.functional.linear(x, self.weight)


@pytest.mark.parametrize("layer", ["auto", "blocks"])
def test_a_model_without_any_layer_is_told_to_make_one(layer):
    with pytest.raises(MissingInput, match="no layer") as caught:
        features(Functional(), layer)
    assert "module" in caught.value.hint


def test_layers_that_nobody_calls_are_not_offered():
    class Half(Functional):
        def __init__(self):
            super().__init__()
            self.idle, self.act = nn.Linear(D, C), nn.Tanh()

        def forward(self, x):
            return self.act(nn.functional.linear(x, self.idle.weight))

    with pytest.raises(MissingInput, match="last Linear was not to be found") as caught:
        features(Half())
    assert "['act']" in caught.value.hint


def test_an_unknown_layer_suggests_the_nearest():
    with pytest.raises(MissingInput, match="'boby'") as caught:
        features(Net(), "boby")
    assert caught.value.hint == "did you mean 'body'?"


def test_a_layer_that_does_not_run_says_so():
    with pytest.raises(BatchUnreadable, match="took no part in the forward pass"):
        features(Net(), "unused")


def test_a_layer_that_runs_twice_counts_as_it_ran_last():
    class Twice(Net):
        def forward(self, x):
            self.body(x)
            return self.head(self.body(-x))

    model = Twice()
    torch.testing.assert_close(features(model, "body"), model.body(-X))


def test_tied_weights_do_not_confuse_the_search():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(C, H)
            self.up = nn.Linear(D, H)
            self.head = nn.Linear(H, C, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x):
            return self.head(self.up(x))

    model = Tied()
    torch.testing.assert_close(features(model), model.up(X))


def test_a_layer_may_return_a_tuple_or_an_object_with_its_last_state():
    class Tupled(nn.Module):
        def forward(self, x):
            return 2 * x, "attention"

    class Stated(nn.Module):
        def forward(self, x):
            output = type("Output", (), {})()
            output.last_hidden_state = 3 * x
            return output

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.tupled, self.stated, self.head = Tupled(), Stated(), nn.Linear(D, C)

        def forward(self, x):
            return self.head(self.tupled(x)[0] + self.stated(x).last_hidden_state)

    assert features(Outer(), "tupled").equal(2 * X)
    assert features(Outer(), "stated").equal(3 * X)


@pytest.mark.parametrize("output", ["text", (), torch.tensor(1.0), None])
def test_a_layer_that_gives_no_rows_says_so(output):
    class Odd(nn.Module):
        def forward(self, _):
            return output

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd, self.head = Odd(), nn.Linear(D, C)

        def forward(self, x):
            self.odd(x)
            return self.head(x)

    with pytest.raises(BatchUnreadable, match="'odd' does not give one tensor of rows"):
        features(Outer(), "odd")


def test_no_hook_stays_behind_even_after_a_failure():
    model = Net()
    for layer in ("auto", "body"):
        features(model, layer)
        with pytest.raises(RuntimeError):
            features(model, layer, (X[:, :2], BATCH[1]))
    assert not any(module._forward_hooks for module in model.modules())


def test_gradients_flow_through_features():
    model = Net()
    features(model).sum().backward()
    assert model.body.weight.grad.abs().sum() > 0
    assert model.head.weight.grad is None
