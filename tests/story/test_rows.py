"""What several processes share: no row is run twice, and a curve says what its minutes reach."""

import re
from pathlib import Path

import pytest

GOAL = {"epochs": [2, 7], "goal": {"epochs": 7, "accuracy": 0.8, "minutes": 12}, "reading": "Here."}

pytestmark = pytest.mark.usefixtures("scripts")


def test_a_row_that_another_process_runs_or_has_run_is_left_to_it(tmp_path, monkeypatch):
    import rows  # noqa: PLC0415
    from table import Cell, Row, Table  # noqa: PLC0415
    from training import claimed  # noqa: PLC0415

    names = ("free", "taken", "done meanwhile")
    cell = Cell("cell", "digits", {}, {}, (0,), tuple(Row(name, name) for name in names))
    paths = dict(zip(names, (rows.kept(tmp_path, cell, 0, row) for row in cell.rows), strict=True))
    tried = []

    def elsewhere(*_given):
        paths["done meanwhile"].write_text("{}")
        return

    def run(_place, _cell, _seed, row):
        tried.append(row.name)
        return {"row": row.name}

    monkeypatch.setattr(rows, "_placed", elsewhere)
    monkeypatch.setattr(rows, "_tried", run)
    monkeypatch.setattr(rows.random.Random, "shuffle", lambda _self, _some: None)
    with claimed(tmp_path, f"row {paths['taken'].stem}") as mine:
        assert mine
        rows.work(Table("table", "", "", (cell,)), None, tmp_path, tmp_path)
    assert tried == ["free"]
    assert not paths["taken"].exists()


def found(seconds):
    known = {"2 epochs": {"right": 70, "asked": 100}, "7 epochs": {"right": 90, "asked": 100}}
    return known | {"pace": {"seconds": seconds, "threads": 2, "load": 0.5}}


@pytest.mark.parametrize(
    ("seconds", "said", "met"),
    [
        (60.0, "90.0 % with 7 epochs", True),
        (200.0, "70.0 % with 2 epochs", False),
        (400.0, "less than the shortest run takes", False),
    ],
)
def test_minutes_reach_what_the_longest_run_within_them_does(seconds, said, met):
    import rising  # noqa: PLC0415

    section = rising.section(found(seconds), GOAL)
    epochs, minutes = section.asked
    assert (epochs.found, epochs.met) == ("90.0 %", True)
    assert (minutes.found, minutes.met) == (said, met)
    assert f"| 7 | {7 * seconds / 60:.1f} | 90.0 % | 82.4 to 95.1 |" in section.text[1]
    assert section.picture.startswith("<svg")


def test_a_curve_that_nobody_timed_promises_no_minutes():
    import rising  # noqa: PLC0415

    known = {name: each for name, each in found(1.0).items() if name != "pace"}
    section = rising.section(known, GOAL)
    assert section.asked == ()
    assert "Not timed." in section.text[2]
    assert "| 2 | - | 70.0 % |" in section.text[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nothing.toml"], "nothing.toml is no file; in benchmarks/ there are .*duck.toml"),
        (["duck.toml", "--seeds", "0"], "a whole number from 1 is needed, not 0"),
        (["duck.toml", "--seeds", "-1"], "a whole number from 1 is needed, not -1"),
        (["duck.toml", "--out", "duck.toml"], "duck.toml is a file; results need a folder"),
        (["duck.toml", "--only", "nobody"], "no cell or row of .*duck.toml is named like 'nobody'"),
        (["duck.toml", "--only", "Yale", "--out", "out"], "Extended Yale B is not in .*SHA-256"),
        (["duck.toml", "--seeds", "1"], "a part of a table is not the table"),
        (["evidence.toml", "--only", "nobody", "--out", "out"], "no experiment of .*'nobody'"),
        (["evidence.toml", "--seeds", "1"], "leave --seeds out"),
    ],
)
def test_what_cannot_be_run_is_told_before_any_work(given, said, monkeypatch, capsys, tmp_path):
    import run  # noqa: PLC0415

    folder = Path(run.__file__).parent
    monkeypatch.chdir(tmp_path)
    table = folder / given[0]
    table = table if table.exists() else given[0]
    rest = [str(folder / each) if each == "duck.toml" else each for each in given[1:]]
    monkeypatch.setattr("sys.argv", ["run.py", str(table), *rest, "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as told:
        run.main()
    assert re.search(said, f"{told.value} {capsys.readouterr().err}")
    assert not [*tmp_path.glob("out/*")]


def test_a_name_that_is_whole_takes_no_longer_one():
    import table  # noqa: PLC0415

    path = Path(table.__file__).with_name("lcodec.toml")
    every = [(cell, row) for cell in table.read(path).cells for row in cell.rows]
    for cell, row in every:
        (found,) = table.read(path, only=f"{cell.name}: {row.name}").cells
        assert (found.name, [each.name for each in found.rows]) == (cell.name, [row.name])


def test_an_interval_that_is_longer_to_one_side_shows_its_ends():
    import columns  # noqa: PLC0415
    import pages  # noqa: PLC0415

    share = columns.Column("share", ("share",), "a share", percent=True)
    assert pages._shown(share, [0.0], (0.0, 0.176)) == "0.0 % [0.0 % to 17.6 %]"
    assert pages._shown(share, [0.5], (0.4, 0.6)) == "50.0 % ± 10.0 %"
    assert pages._shown(share, [0.9721], (0.9671, 0.9767)) == "97.2 % ± 0.5 %"


@pytest.mark.parametrize("by_row", [True, False])
def test_rows_beside_models_of_their_own_are_told(by_row):
    import columns  # noqa: PLC0415
    import pages  # noqa: PLC0415

    def run(value, original, references):
        told = {"value": value, "original": original, "references": references, "interval": None}
        return {"seed": 0, "measurements": {"x": told}}

    column = columns.Column("x", ("x",), "a number", digits=1, by_row=by_row)
    alike, apart = [run(2, 1, [3]), run(4, 1, [3])], [run(2, 1, [3]), run(4, 5, [3])]
    assert pages._standing(column, apart, "original") == ("by row" if by_row else "3.0")
    assert pages._standing(column, [run(2, None, [])], "references") == "-"
    assert not [*pages._apart([column], alike)]
    assert len([*pages._apart([column], apart)]) == (0 if by_row else 1)
    assert pages._cell(column, apart[1:]) == "4.0 (+1.0)"
    assert pages._cell(column, [run(4, 5, [])]) == ("4.0 (-1.0)" if by_row else "4.0")
