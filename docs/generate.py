"""Write the pages that follow from the code: one for every plug-in, one for every command.

`python docs/generate.py [FOLDER]` writes into docs/plugins, which git ignores. What a page says
comes from docstrings, settings and help texts alone, so that it cannot differ from the code.
"""  # noqa: INP001 - a script

import inspect
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from typer.main import get_command

from expunge.catalogue import Folder, about, find, names, settings, summary
from expunge.cli.app import app

FOLDERS: dict[Folder, str] = {
    "methods": "Ways to forget. Each is one file, and keeps the promises that "
    "{doc}`every method makes </howto/add-method>`.",
    "attacks": "Ways to tell what a model was trained on. A membership metric asks them.",
    "metrics": "What an audit can measure. A metric that has no place in an audit says so.",
}

_COMMENT = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)


def main(arguments: Sequence[str]) -> None:
    """Write every page anew into a folder."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parent / "plugins"
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pages() -> Iterator[tuple[str, str]]:
    """Every page: where it goes, and its text."""
    for folder in FOLDERS:
        yield f"{folder}/index.md", _listing(folder)
        yield f"{folder}/table.inc", _table_of(folder)
        for name in names(folder):
            yield f"{folder}/{name}.md", plugin_page(folder, name)
    found = dict(commands())
    yield "commands/index.md", _commands_listing(found)
    for name, command in found.items():
        yield f"commands/{name.replace(' ', '-')}.md", command_page(name, command)


def plugin_page(folder: Folder, name: str) -> str:
    """What a plug-in does, how it is called, and what can be set."""
    plugin = find(folder, name)
    first, _, rest = about(folder, name).partition("\n\n")
    parts = [f"# {name}", summary(folder, name), " ".join(first.split()), rest.strip()]
    parts += [*_abilities(plugin), "## Settings", _settings_of(plugin), "## Call it"]
    parts += [_calls(folder, name, plugin)]
    return _joined(parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name, ``ledger verify`` among them."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inside = getattr(command, "commands", None)
        if inside is None:
            yield name, command
        else:
            yield from ((f"{name} {sub}", found) for sub, found in inside.items())


def command_page(name: str, command: Any) -> str:
    """What a command does, and its arguments and options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    needed = [*map(_argument, arguments), *(_option(p) for p in options if p.required)]
    usage = f"```console\n$ {' '.join(['expunge', name, *needed, '[OPTIONS]'])}\n```"
    parts = [f"# expunge {name}", _coded(command.help), usage]
    if arguments:
        rows = [(f"`{_argument(p)}`", _coded(p.help), _default(p)) for p in arguments]
        parts += ["## Arguments", _table(("argument", "meaning", "default"), rows)]
    rows = [(f"`{_option(p)}`", _coded(p.help), _default(p)) for p in options]
    parts += ["## Options", _table(("option", "meaning", "default"), rows)]
    return _joined(parts)


def _listing(folder: Folder) -> str:
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *names(folder), "```"])
    return _joined([f"# {folder.capitalize()}", FOLDERS[folder], _table_of(folder), toctree])


def _table_of(folder: Folder) -> str:
    links = [
        (f"{{doc}}`{name} </plugins/{folder}/{name}>`", summary(folder, name))
        for name in names(folder)
    ]
    return _table((folder.removesuffix("s"), "what it does"), links)


def _commands_listing(found: dict[str, Any]) -> str:
    rows = [
        (f"{{doc}}`expunge {name} <{name.replace(' ', '-')}>`", command.help.split("\n")[0])
        for name, command in found.items()
    ]
    files = [name.replace(" ", "-") for name in found]
    endings = (
        "Every command ends with 0 when it did its work, with 1 when the verdict is `residual` or "
        "the model is degraded (with `--strict` also when it is `inconclusive`), with 2 when it "
        "could not do what was asked, and with 130 when you stopped it. With `--json` there is "
        "nothing but JSON on stdout, faults included. No command asks questions."
    )
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *files, "```"])
    return _joined(["# Commands", endings, _table(("command", "what it does"), rows), toctree])


def _abilities(plugin: type[Any]) -> Iterator[str]:
    if hasattr(plugin, "handles"):
        yield f"**Removes** {', '.join(kind.__name__.lower() for kind in plugin.handles)}."
    if hasattr(plugin, "tasks"):
        yield f"**Serves** {', '.join(plugin.tasks)}."
    if getattr(plugin, "reshapes", False):
        yield "It may change the names or shapes of parameters."


def _settings_of(plugin: type[Any]) -> str:
    kinds, comments = get_type_hints(plugin), dict(_COMMENT.findall(inspect.getsource(plugin)))
    rows = [
        (f"`{key}`", _spoken(kinds[key]), _value(default), comments.get(key, ""))
        for key, default in settings(plugin).items()
    ]
    if not rows:
        return "It has none."
    return _table(("setting", "type", "default", "meaning"), rows)


def _calls(folder: Folder, name: str, plugin: type[Any]) -> str:
    imported = f"```python\nfrom expunge.{folder}.{name} import {plugin.__name__}\n"
    if folder == "methods":
        return f"{imported}```\n\n```console\n$ expunge run --method {name} --classes 3\n```"
    if folder == "metrics":
        return f'{imported}```\n\n```toml\n[audit]\nmetrics = ["{name}"]\n```'
    asked = "from expunge.metrics.membership import Membership"
    if "shadows" in settings(plugin):
        asked += (
            "\n\n\ndef told(shadows):  # what expunge.shadowing.shadow_of(outcome, recipe) made"
        )
        return f"{imported}{asked}\n    return Membership({plugin.__name__}(shadows))\n```"
    return f"{imported}{asked}\n\nMembership({plugin.__name__}())\n```"


def _argument(param: Any) -> str:
    shown = param.metavar or param.name.upper()
    return shown if param.required else f"[{shown}]"


def _coded(text: str) -> str:
    """Options in code, where no typesetter makes a dash of them."""
    return re.sub(r"(?<!`)--[a-z][a-z-]*( [\w.]+=\w+)?", r"`\g<0>`", text)


def _option(param: Any) -> str:
    flag = " / ".join([*param.opts, *param.secondary_opts])
    if param.is_flag:
        return flag
    return f"{flag} {param.metavar or param.name.upper()}"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    nothing = param.default is None or param.default is False or param.default == ""
    return "" if nothing else f"`{param.default}`"


def _spoken(kind: Any) -> str:
    """A type as a reader says it."""
    inside = get_args(kind)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_spoken(part) for part in inside)
    return "none" if kind is type(None) else getattr(kind, "__name__", str(kind))


def _value(default: Any) -> str:
    if default is ...:
        return "required"
    return f"`{getattr(default, '__name__', default)}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines
    )


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
