"""What the pages tell was measured with the settings that the same command would use today."""

import json
import re
from collections import Counter
from dataclasses import MISSING, fields
from itertools import chain
from pathlib import Path

import pytest

from expunge.accounting import as_json
from expunge.catalogue import find

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TABLES = ("attribute", "duck", "hard", "lcodec", "methods", "mini")
AT_HAND = {"history", "recipe", "folder", "validation", "seed"}

pytestmark = pytest.mark.usefixtures("scripts")


def raw(name):
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())


def places(name):
    import table  # noqa: PLC0415

    read = table.read(BENCHMARKS / f"{name}.toml")
    return [(cell, seed, row) for cell in read.cells for seed in cell.seeds for row in cell.rows]


def given(row):
    """The settings that a row's method would have now, but for what is at hand or cut to time."""
    import staging  # noqa: PLC0415
    from table import Row  # noqa: PLC0415

    if row.method == "combine":
        for part in row.settings["methods"]:
            yield from ((f"{part}.{name}", value) for name, value in given(Row(part, part)))
        return
    for item in fields(find("methods", row.method)):
        if item.name in AT_HAND | {row.effort}:
            continue
        if item.name in row.settings:
            yield item.name, as_json(staging._object(item.name, row.settings[item.name]))
        elif item.default is not MISSING:
            yield item.name, as_json(item.default)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_was_run_with_the_settings_of_today(name):
    import rows  # noqa: PLC0415

    told = {run["key"]: run for run in raw(name)["rows"]}
    for cell, seed, row in places(name):
        run = told.pop(rows.kept(Path(), cell, seed, row).stem)
        assert (run["cell"], run["row"], run["seed"]) == (cell.name, row.name, seed)
        assert run.get("settings", {}).get("seed", seed) == seed  # where a method has its own
        if "failed" not in run:
            now = dict(given(row))
            assert {key: run["settings"].get(key) for key in now} == now, (cell.name, row.name)
    assert not told


@pytest.mark.parametrize("name", [*TABLES, "evidence", "scaling"])
def test_pages_are_of_whole_runs_and_tell_where(name):
    body = raw(name)
    assert body["quick"] is False
    assert "cores" in body["machine"]
    assert not re.search('"[/~]', (BENCHMARKS / "results" / f"{name}.json").read_text())


def test_no_two_tables_take_each_others_rows():
    import rows  # noqa: PLC0415

    every = chain.from_iterable(map(places, TABLES))
    keys = Counter(rows.kept(Path(), cell, seed, row) for cell, seed, row in every)
    assert max(keys.values()) == 1


def test_a_row_is_run_alone_where_its_name_follows_its_cells():
    import table  # noqa: PLC0415

    (cell,) = table.read(BENCHMARKS / "duck.toml", only="Yale B, one person: duck").cells
    assert [row.name for row in cell.rows] == ["duck"]
    (cell,) = table.read(BENCHMARKS / "duck.toml", only="Yale B").cells
    assert len(cell.rows) == 4
    assert not table.read(BENCHMARKS / "duck.toml", only="nobody").cells
