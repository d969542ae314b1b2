"""Pictures of samples are written where --with-samples asks for them, and nowhere else."""

import pytest

FLAT = """
class Flat(nn.Sequential):
    def forward(self, x):
        return super().forward(x.flatten(1)[:, :7])

def build():
    return Flat("""

RUN = ("run", "--method", "finetune", "--classes", "2", "--set", "epochs=1", "--tier", "smoke")
AUDIT = ("audit", "model.safetensors", "model.safetensors", "--classes", "2", "--tier", "smoke")
COMPARE = ("compare", "--method", "finetune", "--method", "neggrad", "--classes", "2")
QUICK = ("--set", "neggrad.steps=2", "--set", "finetune.epochs=1", "--tier", "smoke")
SHOWN = "data:image/png;base64,"


@pytest.fixture(autouse=True)
def _of_pictures(project, change):
    """The small project, but its samples are pictures of two rows, and it looks at attributions."""
    made = "TensorDataset(x.repeat(1, 2).view(count, 1, 2, 7), y)"
    change("toy_data.py", "TensorDataset(x, y)", made)
    change("toy_model.py", "\ndef build():\n    return nn.Sequential(", FLAT)
    change("expunge.toml", "seeds = 2", 'seeds = 2\nmetrics = ["attribution"]')
    assert project.exists()


def test_a_run_keeps_pictures_only_where_asked(expunge, project):
    for name, flags in (("shown", ("--with-samples",)), ("hidden", ())):
        expunge(*RUN, "--id", name, *flags)
        found = [
            SHOWN in (project / "runs" / name / file).read_text()
            for file in ("evidence.json", "report.html")
        ]
        assert found == [bool(flags)] * 2
    assert SHOWN.encode() not in (project / "ledger.db").read_bytes()


def test_an_audit_keeps_pictures_only_where_asked(expunge, project):
    for flags in (("--with-samples",), ()):
        expunge(*AUDIT, "--out", "judged", *flags)
        found = [SHOWN in path.read_text() for path in (project / "judged").iterdir()]
        assert any(found) == bool(flags)


def test_a_comparison_shows_pictures_only_where_asked(expunge, project):
    for flags in (("--with-samples",), ()):
        expunge(*COMPARE, *QUICK, "--out", "page.html", *flags)
        assert (SHOWN in (project / "page.html").read_text()) == bool(flags)


def test_a_flag_that_nothing_can_honour_is_refused_before_anything_is_written(
    expunge, project, change
):
    change("expunge.toml", '"attribution"', '"loss"')
    ended = expunge(*RUN, "--with-samples")
    assert ended.code == 2
    assert "no metric of this audit can show samples" in ended.err
    assert not (project / "runs").exists()
    assert not (project / "ledger.db").exists()
