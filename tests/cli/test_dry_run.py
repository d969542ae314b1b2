"""What a command would cost is printed, and nothing else happens."""

import pytest

pytestmark = pytest.mark.usefixtures("project", "hasty")

RUN = ("run", "--method", "finetune", "--classes", "2", "--set", "epochs=1")
AUDIT = ("audit", "model.safetensors", "model.safetensors", "--classes", "2")


@pytest.mark.parametrize("command", [RUN, AUDIT])
def test_a_dry_run_prints_minutes_and_models_and_writes_nothing(command, expunge, project):
    before = sorted(path.name for path in project.iterdir())
    ended = expunge(*command, "--tier", "strict", "--dry-run")
    assert ended.code == 0
    assert "What tier strict will cost" in ended.out
    for words in ("references", "20", "measurements", "together", "retrained without"):
        assert words in ended.out
    assert ("unlearning by finetune" in ended.out) == (command is RUN)
    left = sorted(path.name for path in project.iterdir() if path.name != "__pycache__")
    assert left == [name for name in before if name != "__pycache__"]


def test_a_dry_run_speaks_json_and_counts_what_is_in_the_cache(expunge):
    assert expunge(*AUDIT).code in (0, 1)
    body = expunge(*AUDIT, "--dry-run", "--json").body
    assert body["tier"] == "standard"
    assert body["to_train"] == 0
    assert body["minutes"] > 0
    (references,) = [item for item in body["items"] if item["what"] == "references"]
    assert (references["in_cache"], references["to_train"], references["seconds"]) == (2, 0, 0)


def test_what_is_wrong_with_a_setting_shows_in_a_dry_run(expunge):
    ended = expunge(*RUN, "--set", "epoch=3", "--dry-run")
    assert ended.code == 2
    assert "epochs" in ended.err
