"""Every plug-in file keeps the promises of its kind; a new file is found and tested by itself."""

import pytest

from expunge import catalogue
from expunge.testing import check_attack, check_method, check_metric

BRIEF = {  # a promise does not hang on how long a plug-in works
    "attribution": {"steps": 3},
    "bad_teacher": {"steps": 10},
    "blind": {"folds": 2, "trees": 5},
    "boundary_expand": {"steps": 10},
    "boundary_shrink": {"steps": 10},
    "catastrophic_layers": {"epochs": 2},
    "detach": {"epochs": 2},
    "duck": {"epochs": 40},
    "influence": {"rounds": 5},
    "lcodec": {"perturbations": 96},
    "neggrad": {"steps": 20},
    "probe": {"folds": 2},
    "l1_sparse": {"epochs": 2},
    "random_labels": {"steps": 20},
    "representation": {"rows": 15, "layers": ("0",)},
    "relearning": {"runs": 2, "steps": 8, "every": 4, "lr": 3e-2},
    "salun": {"steps": 10},
    "scrub": {"epochs": 2},
    "unsir": {"moves": 5, "repair": 1},
}


@pytest.mark.parametrize("name", catalogue.names("methods"))
def test_method_keeps_its_promises(name):
    method = catalogue.find("methods", name)
    check_method(method(**BRIEF[name]) if name in BRIEF else method)


@pytest.mark.parametrize("name", catalogue.names("attacks"))
def test_attack_keeps_its_promises(name):
    check_attack(catalogue.find("attacks", name))


@pytest.mark.parametrize("name", catalogue.names("metrics"))
def test_metric_keeps_its_promises(name):
    plugin = catalogue.find("metrics", name)
    given = {"attack": catalogue.default_attack()} if "attack" in catalogue.settings(plugin) else {}
    check_metric(plugin(**given, **BRIEF.get(name, {})))


@pytest.mark.parametrize("folder", ["methods", "attacks", "metrics"])
def test_every_plugin_has_a_sentence_and_a_page(folder):
    for name in catalogue.names(folder):
        assert catalogue.summary(folder, name).endswith("."), name
        assert len(catalogue.about(folder, name)) > 20, name
