"""What the pages say is true: their code runs, their commands exist, and nothing lacks a page."""

import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

import expunge
from expunge import catalogue, tiers
from expunge.cli.app import app
from expunge.cli.keys import Keys, read
from expunge.metrics.attribution import Attribution

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted(path for path in DOCS.rglob("*.md") if not {"plugins", "_build"} & {*path.parts})
PAGES = [page for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if page.exists()]
PAGES += [*WRITTEN, *sorted(ROOT.glob("examples/*/README.md"))]
FENCE = re.compile(r"^```(.*)$")


def blocks(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """Every fenced block of a page: its label, the number of its first line, its lines."""
    label, first, inside = None, 0, []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if label is None and fence:
            label, first, inside = fence[1].strip(), number + 1, []
        elif fence:
            yield str(label), first, inside
            label = None
        else:
            inside.append(line)


def program(page: Path) -> str:
    """The Python of a page as one file, every line where the page has it."""
    lines: list[str] = []
    for label, first, inside in blocks(page.read_text(encoding="utf-8")):
        if label == "python":
            lines += [""] * (first - 1 - len(lines)) + inside
    return "\n".join(lines)


def shown(page: Path, language: str) -> list[str]:
    """All lines of a page's blocks in one language."""
    found = blocks(page.read_text(encoding="utf-8"))
    return [line for label, _, inside in found if label == language for line in inside]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated(generate, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "plugins"
    generate.main([str(folder)])
    return folder


@pytest.mark.parametrize("page", [p for p in PAGES if program(p)], ids=named)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What attributions find is tested elsewhere: here it is enough that they are made.
    monkeypatch.setattr(tiers, "Attribution", partial(Attribution, steps=2))
    file = tmp_path / f"{page.stem.replace('-', '_')}_page.py"
    file.write_text(program(page), encoding="utf-8")
    runpy.run_path(str(file), run_name="page")


def test_the_imports_on_generated_pages_work(generated):
    for page in sorted(generated.rglob("*.md")):
        exec(compile(program_of(page), page.name, "exec"), {})


def program_of(page: Path) -> str:
    return "\n".join(shown(page, "python"))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_on_a_page_exists_with_its_options(page, generate):
    known = dict(generate.commands())
    calls = [line[2:].split("#")[0].split() for line in shown(page, "console") if "$ exp" in line]
    for call in calls:
        name = next((n for n in (" ".join(call[1:3]), call[1]) if n in known), None)
        assert name, f"no command {' '.join(call)}"
        options = {option for param in known[name].params for option in param.opts}
        unknown = {word for word in call if word.startswith("--")} - options - {"--help"}
        assert not unknown, f"{' '.join(call)}: no option {unknown}"


@pytest.mark.parametrize("page", [p for p in PAGES if shown(p, "toml")], ids=named)
def test_every_expunge_toml_on_a_page_is_accepted(page, tmp_path):
    file = tmp_path / "expunge.toml"
    file.write_text("\n".join(shown(page, "toml")), encoding="utf-8")
    assert isinstance(read(file), Keys)


@pytest.mark.parametrize("folder", ["methods", "attacks", "metrics"])
def test_every_plugin_has_a_page_with_its_sentence_and_all_its_settings(folder, generated):
    for name in catalogue.names(folder):
        text = (generated / folder / f"{name}.md").read_text(encoding="utf-8")
        assert catalogue.summary(folder, name) in text
        for setting in catalogue.settings(catalogue.find(folder, name)):
            assert f"`{setting}`" in text


def test_every_command_has_a_page_with_all_its_options(generate, generated):
    names = {name for name, _ in generate.commands()}
    assert {*get_command(app).commands} <= {name.split()[0] for name in names}
    for name, command in generate.commands():
        text = (generated / "commands" / f"{name.replace(' ', '-')}.md").read_text("utf-8")
        options = [p for p in command.params if p.param_type_name == "option"]
        assert [p.opts[0] for p in options if f"`{p.opts[0]}" not in text] == []


def test_every_public_name_is_on_the_page_of_the_api():
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    missing = [name for name in expunge.__all__ if not re.search(rf"expunge\.{name}\b", text)]
    assert not missing


def test_every_key_of_expunge_toml_is_explained():
    text = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    template = (ROOT / "src/expunge/cli/template.toml").read_text(encoding="utf-8")
    given = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", template, flags=re.MULTILINE))
    keys = [key for key in given if not isinstance(given[key], dict)]
    keys += [key for table in given.values() if isinstance(table, dict) for key in table]
    assert len(keys) > 10
    assert [key for key in keys if f"`{key}`" not in text] == []


def tables(page: Path) -> list[list[list[str]]]:
    """Every table of a page: its head, then its rows."""
    found = re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    cells = [[re.split(r"\s*\|\s*", row)[1:-1] for row in one.splitlines()] for one in found]
    return [[head, *rows] for head, _, *rows in cells]


@pytest.mark.slow
def test_the_tables_of_the_tutorial_are_what_the_demo_finds(tmp_path):
    command = [sys.executable, "-m", "expunge", "demo", "--out", str(tmp_path / "demo"), "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for kind, (head, *rows) in zip(
        ("classes", "samples"), tables(DOCS / "tutorial.md"), strict=True
    ):
        written = {row[0].strip("*"): dict(zip(head, row, strict=True)) for row in rows}
        cases = [case for case in told["cases"] if case["targets"][0]["kind"] == kind]
        assert len(cases) == len(written) - 2  # the original, and the retrained
        for case in cases:
            verdict, row = case["verdict"], written[Path(case["file"]).stem.split("-")[1]]
            word = verdict["word"] + (", degraded" if verdict["degraded"] else "")
            assert row.pop("verdict").split("\N{NO-BREAK SPACE}")[1] == word
            found = {m["name"]: m["value"] for m in case["evidence"]["measurements"]}
            for name in head[1:-1]:  # another processor may round another way
                assert float(row[name]) == pytest.approx(found[name], abs=0.02), name


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    subprocess.run([sys.executable, DOCS / "generate.py"], check=True)
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    subprocess.run([*sphinx, "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"], check=True)
    assert (tmp_path / "html" / "index.html").is_file()
