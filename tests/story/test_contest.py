"""A contest of methods: what they take, how they are held to a time, and how they are sorted."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification
from expunge.methods.finetune import Finetune
from expunge.methods.warm_restart import WarmRestart
from expunge.problems.digits import digits
from expunge.sharding import Shards

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.usefixtures("scripts")


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
    from holding import Hold  # noqa: PLC0415

    hold = Hold(None, "epochs", 2.5)
    assert hold._less(Finetune(epochs=10), 2.4) is None
    assert hold._less(Finetune(epochs=10), 5.0).epochs == 4
    assert hold._less(Finetune(epochs=1), 5.0) is None
    assert Hold(None, "", 2.5)._less(Finetune(epochs=10), 5.0) is None
    restart = WarmRestart("history", digits().recipe, share=0.5)
    assert Hold(None, "share", 2.5)._less(restart, 5.0).share == pytest.approx(0.5 * 0.5 * 0.85)


def held(method, limit, seconds, work=lambda epochs: epochs, effort="epochs"):
    """Every number of epochs that was run, and what was settled on."""
    from holding import Hold  # noqa: PLC0415
    from meter import Taken  # noqa: PLC0415

    begun = []

    def run(method):
        begun.append(method.epochs)
        return method, Taken(seconds(method.epochs), work(method.epochs), None)

    return begun, Hold(run, effort, limit).held(method)


def test_what_is_told_of_a_method_is_what_was_run():
    _, tried = held(Finetune(epochs=100_000_000), 2.5, lambda _: 100.0)
    assert tried.taken.flops == tried.outcome.epochs == tried.method.epochs < 100_000_000
    _, tried = held(Finetune(epochs=100), 2.5, lambda _: 100.0, work=lambda _: 1)
    assert tried.method.epochs == 100  # less effort that is no less work is not given


def test_nobody_waits_for_a_run_that_takes_too_long_if_it_could_do_less(monkeypatch):
    import holding  # noqa: PLC0415

    monkeypatch.setattr(holding, "_SOON", 0.05)

    def endless(epochs):
        while epochs > 10:
            pass
        return 0.001

    begun, tried = held(Finetune(epochs=1000), 0.01, endless)
    assert begun == [1000, 169, 28, 4]
    assert tried.method.epochs == 4
    assert tried.taken.seconds < 0.01


@pytest.mark.parametrize(
    ("most", "start", "each", "runs", "kept"),
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
def test_where_retraining_takes_long_a_little_tells_how_much_fits(most, start, each, runs, kept):
    method = Finetune(epochs=most)
    begun, tried = held(method, 250.0, lambda epochs: start + each * epochs)
    assert begun == runs
    assert tried.method.epochs == kept
    begun, _ = held(method, 250.0, lambda epochs: start + each * epochs, effort="")
    assert begun == [most]


def test_what_would_fit_by_a_rule_of_three_and_does_not_is_given_up():
    begun, tried = held(Finetune(epochs=100), 250.0, lambda epochs: 0.5 * epochs**3)
    assert begun == [5, 19]
    assert tried.method.epochs == 5


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
    several = [ran(1.0), ran(1.0, "residual, degraded"), ran(1.0)]
    assert standings.verdicts(several) == "equivalent: 2; residual, degraded: 1"
    assert (standings.word(several), standings.degraded(several)) == ("equivalent", True)
    assert not standings.degraded([ran(1.0), ran(1.0, "residual")])


def test_what_a_killed_row_had_trained_is_not_trained_again(tmp_path, monkeypatch):
    import contest  # noqa: PLC0415
    import meter  # noqa: PLC0415
    import table  # noqa: PLC0415
    from staging import staged  # noqa: PLC0415

    cell = table.read(BENCHMARKS / "methods.toml", quick=True, only="10 %").cells[0]
    cell = replace(cell, settings={"epochs": 1}, look={"references": 1, "runs": 2})
    row = next(row for row in cell.rows if row.name == "sisa")
    ring = contest.Ring.on(staged(cell, 0, None, tmp_path), cell, 0.25, tmp_path)
    trained = []
    through = Shards._through

    def counted(self, shard, slices, model):
        trained.append(shard)
        return through(self, shard, slices, model)

    monkeypatch.setattr(Shards, "_through", counted)
    monkeypatch.setattr(meter, "_SHORT", 0.0)
    monkeypatch.setattr(contest, "suite", lambda *_asked: [])  # what an audit finds is not asked
    with monkeypatch.context() as patch:
        patch.setattr(contest.Ring, "_evidence", killed)
        with pytest.raises(KeyboardInterrupt):
            ring.tried(row, 2)
    first = len(trained)
    told = ring.tried(row, 2)
    assert told["apart"] == 0
    assert told["settings"]["seed"] == 2  # another seed is another ensemble
    ring.clear(row, 2)
    slices = 4 * 4  # of an ensemble; the original's and the reference's are there, one is compared
    assert len(trained) - first == first - 2 * slices + slices
    assert not [*(tmp_path / "begun").iterdir()]


def killed(*_args):
    raise KeyboardInterrupt


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
