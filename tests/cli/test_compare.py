"""Compare: methods side by side, and settings for one of them."""

import pytest

pytestmark = pytest.mark.usefixtures("project")

COMPARE = ("compare", "--method", "finetune", "--method", "neggrad", "--classes", "2")
QUICK = ("--set", "neggrad.steps=5", "--set", "finetune.epochs=1")


def test_compare_shows_all_methods_between_original_and_retrained(expunge, project):
    ended = expunge(*COMPARE, *QUICK, "--out", "page.html")
    lines = [line.split() for line in ended.out.splitlines() if line.strip()]
    first = [words[0] for words in lines]
    order = [first.index(name) for name in ("original", "finetune", "neggrad", "retrained")]
    assert order == sorted(order)
    page = (project / "page.html").read_text()
    assert "finetune" in page
    assert "neggrad" in page
    assert not (project / "ledger.db").exists()
    assert not (project / "runs").exists()


@pytest.mark.usefixtures("hasty")
def test_compare_speaks_json(expunge):
    body = expunge(*COMPARE, *QUICK, "--tier", "smoke", "--json").body
    assert list(body["methods"]) == ["finetune", "neggrad"]
    assert all(case["verdict"]["word"] == "inconclusive" for case in body["methods"].values())


@pytest.mark.usefixtures("hasty")
def test_a_setting_of_a_comparison_can_be_for_one_method(expunge):
    arguments = ("--set", "lr=0.001", "--tier", "smoke", "--json")
    methods = expunge(*COMPARE, *QUICK, *arguments).body["methods"]
    settings = {name: case["evidence"]["provenance"]["settings"] for name, case in methods.items()}
    assert settings["finetune"]["epochs"] == 1
    assert settings["finetune"]["lr"] == settings["neggrad"]["lr"] == 0.001


def test_a_setting_for_a_method_that_is_not_compared_is_refused(expunge):
    ended = expunge(*COMPARE, "--set", "finetun.epochs=1")
    assert ended.code == 2
    assert "'finetune'" in ended.err
