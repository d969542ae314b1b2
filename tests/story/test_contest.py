"""A contest of methods: what they take, how they are held to a time, and how they are sorted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification
from expunge.methods.finetune import Finetune
from expunge.methods.warm_restart import WarmRestart
from expunge.problems.digits import digits

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Benchmarks are scripts beside each other, no package; their names are those of others too."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_a_pass_is_counted_by_its_operations():
    from meter import metered, one_pass  # noqa: PLC0415

    model, n = nn.Linear(6, 4), 640
    data = TensorDataset(torch.randn(n, 6), torch.zeros(n, dtype=torch.long))
    assert one_pass(model, data, Classification()) == 2 * 6 * 4 * n
    found, taken = metered(lambda: model(data.tensors[0]).shape[0])
    assert found == n
    assert taken.flops == 2 * 6 * 4 * n
    assert taken.seconds >= 0


def test_a_method_that_takes_too_long_is_given_less_and_never_nothing():
    from contest import Ring  # noqa: PLC0415
    from staging import Stage  # noqa: PLC0415

    ring = Ring(Stage(None, None, None, None, None, 10.0, None), 0.25, Path(), 0, 5)
    assert ring._less(Finetune(epochs=10), "epochs", 2.4) is None
    assert ring._less(Finetune(epochs=10), "epochs", 5.0).epochs == 4
    assert ring._less(Finetune(epochs=1), "epochs", 5.0) is None
    assert ring._less(Finetune(epochs=10), "", 5.0) is None
    restart = WarmRestart("history", digits().recipe, share=0.5)
    assert ring._less(restart, "share", 5.0).share == pytest.approx(0.5 * 0.5 * 0.85)


def test_what_is_told_of_a_method_is_what_was_run(monkeypatch):
    from contest import Ring  # noqa: PLC0415
    from meter import Taken  # noqa: PLC0415
    from staging import Stage  # noqa: PLC0415

    ring = Ring(Stage(None, None, None, None, None, 10.0, None), 0.25, Path(), 0, 5)

    monkeypatch.setattr(
        Ring,
        "_run",
        lambda *given, **_: (given[2], Taken(100.0, given[2].epochs if useful else 1, None)),
    )
    useful = True  # never fast enough, and less work each time
    method, taken = ring._held(None, Finetune(epochs=100_000_000), "epochs", 0)
    assert taken.flops == method.epochs < 100_000_000
    useful = False  # less effort that is no less work is not given
    assert ring._held(None, Finetune(epochs=100), "epochs", 0)[0].epochs == 100


def test_nobody_waits_for_a_run_that_takes_too_long_if_it_could_do_less(monkeypatch):
    import contest  # noqa: PLC0415
    from meter import Taken  # noqa: PLC0415
    from staging import Stage  # noqa: PLC0415

    monkeypatch.setattr(contest, "_SOON", 0.05)
    ring = contest.Ring(Stage(None, None, None, None, None, 0.04, None), 0.25, Path(), 0, 5)
    begun = []

    def endless(_ring, _original, method, **_given):
        begun.append(method.epochs)
        while method.epochs > 10:
            pass
        return method, Taken(0.001, 1, None)

    monkeypatch.setattr(contest.Ring, "_run", endless)
    method, taken = ring._held(None, Finetune(epochs=1000), "epochs", 0)
    assert begun == [1000, 169, 28, 4]
    assert method.epochs == 4
    assert taken.seconds < 0.01


@pytest.mark.parametrize(
    ("most", "start", "each", "tried", "kept"),
    [
        (100, 30, 10, [5, 14, 20], 20),  # first by a rule of three, then by a line
        (10, 30, 10, [1, 5, 10], 10),
        (100, 150, 1, [5, 7, 87], 87),
        (5, 0, 47, [1, 5], 5),
        (10, 100, 0, [1, 2, 10], 10),  # what costs nothing more is given in full
        (2, 0, 200, [1], 1),
        (20, 30, 300, [1], 1),  # what never fits is tried once
    ],
)
def test_where_retraining_takes_long_a_little_tells_how_much_fits(
    monkeypatch, most, start, each, tried, kept
):
    from contest import Ring  # noqa: PLC0415
    from meter import Taken  # noqa: PLC0415
    from staging import Stage  # noqa: PLC0415

    ring = Ring(Stage(None, None, None, None, None, 1000.0, None), 0.25, Path(), 0, 5)
    begun = []

    def paced(_ring, _original, method, **_given):
        begun.append(method.epochs)
        return method, Taken(start + each * method.epochs, method.epochs, None)

    monkeypatch.setattr(Ring, "_run", paced)
    assert ring._held(None, Finetune(epochs=most), "epochs", 0)[0].epochs == kept
    assert begun == tried
    begun.clear()
    assert ring._held(None, Finetune(epochs=most), "", 0)[0].epochs == most
    assert begun == [most]


def test_what_would_fit_by_a_line_and_does_not_is_given_up(monkeypatch):
    from contest import Ring  # noqa: PLC0415
    from meter import Taken  # noqa: PLC0415
    from staging import Stage  # noqa: PLC0415

    ring = Ring(Stage(None, None, None, None, None, 1000.0, None), 0.25, Path(), 0, 5)

    def steep(_ring, _original, method, **_given):
        return method, Taken(0.5 * method.epochs**3, method.epochs, None)

    monkeypatch.setattr(Ring, "_run", steep)
    assert ring._held(None, Finetune(epochs=100), "epochs", 0)[0].epochs == 5


def test_a_changed_folder_is_what_it_was_before_work_is_repeated(tmp_path):
    from restoring import Folder  # noqa: PLC0415

    (tmp_path / "kept").write_text("one")
    folder = Folder.of(tmp_path)
    (tmp_path / "kept").write_text("two")
    (tmp_path / "new").write_text("more")
    folder.restore()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept": "one"}


def test_methods_within_the_time_come_first_and_the_nearest_before_others():
    import standings  # noqa: PLC0415
    from table import Row  # noqa: PLC0415

    near, far = Row("near", "finetune", effort="epochs"), Row("far", "finetune")
    slow = Row("slow", "finetune")
    each = [(slow, [ran(0.1, over=True)]), (far, [ran(5.0)]), (near, [ran(1.0), ran(2.0)])]
    assert [row.name for row, _ in standings.ranked(each)] == ["near", "far", "slow"]
    assert standings.title(near, [ran(1.0), ran(1.0)]) == "near (epochs = 3)"
    assert standings.title(slow, [ran(1.0, over=True)]) == "slow †"
    assert standings.verdicts([ran(1.0), ran(1.0, "residual"), ran(1.0)]) == (
        "equivalent: 2; residual: 1"
    )


@pytest.mark.slow
def test_a_quick_contest_is_written_with_verdicts_and_exact_distances(tmp_path):
    for stage in ("train", "rows", "page"):
        subprocess.run(
            [sys.executable, "run.py", "methods.toml", "--quick", "--out", str(tmp_path / "out"),
             "--stage", stage],
            check=True,
            cwd=BENCHMARKS,
            env=os.environ | {"EXPUNGE_CACHE": str(tmp_path / "cache")},
        )  # fmt: skip
    rows = json.loads((tmp_path / "out" / "methods.json").read_text())["rows"]
    assert not [row for row in rows if "failed" in row]
    exact = {row["row"]: row["apart"] for row in rows if row["apart"] is not None}
    assert exact["sisa"] == 0
    assert exact["closed_form"] < 1e-6
    page = (tmp_path / "out" / "methods.md").read_text()
    assert "| method | verdict |" in page
    assert (tmp_path / "out" / "methods.svg").read_text().startswith("<svg")


def ran(gap, verdict="equivalent", *, over=False):
    return {
        "over": over,
        "verdict": verdict,
        "settings": {"epochs": 3},
        "measurements": {"average gap (points)": {"value": gap}},
    }


def test_on_a_device_of_their_own_networks_are_wide_and_results_have_their_own_files(monkeypatch):
    import rows  # noqa: PLC0415
    import table  # noqa: PLC0415

    monkeypatch.setattr(table, "_LARGE", {"digits": {"width": 8}})
    path = BENCHMARKS / "methods.toml"
    there, here = table.read(path, device="meta"), table.read(path)
    assert there.name == "methods-meta"
    assert {cell.problem for cell in there.cells} == {"digits"}
    cell, usual = there.cells[0], here.cells[0]
    assert cell.name.endswith("of full width")
    built = cell.posed(None, 0).recipe.build()
    assert built[0].out_features == 8
    assert next(built.parameters()).device == torch.device("meta")
    kept = [rows.kept(Path(), each, 0, each.rows[0]) for each in (cell, usual)]
    assert kept[0] != kept[1]
