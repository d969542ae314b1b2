"""The head that LEACE fits again answers from what is left."""

import torch


def test_a_head_fitted_again_wins_the_task_back(toy):
    x, y, z = toy.drawn()

    def accuracy(model):
        with torch.no_grad():
            return (model(x).argmax(1) == y).double().mean().item()

    model = toy.outcome().before
    with torch.no_grad():  # answers lean on the attribute: they are bound to suffer
        model[2].weight.zero_()
        model[2].weight[1] = toy.features(model).T @ (z > 0).double() / len(z)
    plain, fitted = (toy.outcome(model=model, refit=refit) for refit in (False, True))
    assert accuracy(plain.after) < 0.85
    assert accuracy(fitted.after) > 0.93
    assert torch.equal(plain.after[2].layer.weight, model[2].weight)
    assert "with the head fitted again" in fitted.notes[-1]
    assert "head" not in plain.notes[-1]


def test_a_stronger_penalty_makes_a_smaller_head(toy):
    small, large = (toy.outcome(l2=l2).after[2].layer.weight.norm() for l2 in (1.0, 1e-4))
    assert small < 0.5 * large
