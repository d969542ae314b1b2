"""A ledger that is gone is told by every command that would read it, and costs no sealed report."""

import pytest

pytestmark = pytest.mark.usefixtures("project")

GONE = "ledger.db is missing or empty, but its key is still there"


@pytest.fixture(params=["removed", "emptied"])
def vanished(ran, project, request):
    """A run whose ledger is gone, and the key is not."""
    book = project / "ledger.db"
    book.unlink() if request.param == "removed" else book.write_bytes(b"")
    return ran


@pytest.mark.usefixtures("vanished")
def test_the_doctor_tells_a_ledger_that_is_gone_and_advises_no_new_one(expunge):
    ended = expunge("doctor")
    assert ended.code == 1
    assert GONE in " ".join(ended.out.split())
    assert "never entered" not in ended.out


@pytest.mark.usefixtures("vanished")
@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_ledger_that_is_gone_is_no_wrong_path(expunge, command):
    for named in ([], ["ledger.db"]):
        ended = expunge("ledger", command, *named, "--json")
        assert ended.code == 2
        assert GONE in ended.body["fact"]
        assert "backup" in ended.body["hint"]


def test_no_report_is_written_again_while_the_ledger_is_gone(expunge, vanished):
    sealed = (vanished / "report.html").read_bytes()
    ended = expunge("report", vanished, "--json")
    assert ended.code == 2
    assert GONE in ended.body["fact"]
    assert (vanished / "report.html").read_bytes() == sealed


def test_a_sealed_report_is_never_replaced_by_an_unsealed_one(expunge, ran, project):
    for name in ("ledger.db", "ledger.db.key"):
        (project / name).unlink()
    sealed = {path: path.read_bytes() for path in ran.iterdir()}
    ways = (
        ("report", ran),
        ("audit", "model.safetensors", "model.safetensors", "--classes", "2", "--out", ran),
        ("compare", "--method", "finetune", "--classes", "2", "--out", ran / "report.html"),
    )
    for way in ways:
        ended = expunge(*way, "--json")
        assert ended.code == 2
        assert "is a sealed report" in ended.body["fact"]
        assert "--out" in ended.body["hint"]
    assert {path: path.read_bytes() for path in ran.iterdir()} == sealed
    elsewhere = expunge("report", ran, "--out", project / "again.html", "--json")
    assert (elsewhere.code, elsewhere.body["seal"]) == (0, "")
    assert expunge("report", ran, "--out", project / "again.html").code == 0
