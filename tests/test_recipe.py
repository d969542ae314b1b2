"""A recipe is told from another by all that its functions hang on."""

from functools import partial
from importlib import import_module

from torch import nn

from expunge import Fit, Recipe


def test_a_number_beside_the_fit_is_part_of_the_recipe(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "guest_recipe.py"
    text = "EPOCHS = 1\n\n\ndef fit(model, dataset):\n    return model\n"
    file.write_text(text)
    recipe = Recipe(nn.Identity, import_module("guest_recipe").fit)
    before = recipe.describe()["fit"]
    file.write_text(text.replace("1", "2"))
    assert recipe.describe()["fit"] != before


def test_what_stands_beside_a_network_that_the_builder_takes_is_part_of_the_recipe(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "guest_network.py"
    text = (
        "from torch import nn\nWIDTH = 1\n\n\ndef network():\n    return nn.Linear(WIDTH, 2)\n\n\n"
        "class Network(nn.Linear):\n    pass\n"
    )
    file.write_text(text)
    guest = import_module("guest_network")
    taking = (partial(wrapped, guest.network), partial(wrapped, network=guest.Network))
    for taken in (*taking, partial(guest.Network, 1, 2), guest.Network):
        file.write_text(text)
        recipe = Recipe(taken, Fit(epochs=1))
        before = recipe.describe()["build"]
        file.write_text(text.replace("1", "9"))
        assert recipe.describe()["build"] != before


def wrapped(network):
    return network()
