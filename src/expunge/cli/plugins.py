"""``expunge methods``, ``metrics`` and ``attacks``: what there is, and its settings."""

from typing import Any

from expunge.catalogue import Folder, find, names, settings, summary
from expunge.cli.options import AsJson
from expunge.cli.showing import emit, say, table


def methods(*, as_json: AsJson = False) -> None:
    """List the unlearning methods, what they remove, and their settings."""
    _show("methods", as_json=as_json)


def metrics(*, as_json: AsJson = False) -> None:
    """List what an audit can measure."""
    _show("metrics", as_json=as_json)


def attacks(*, as_json: AsJson = False) -> None:
    """List the attacks that test whether something is remembered."""
    _show("attacks", as_json=as_json)


def _show(folder: Folder, *, as_json: bool) -> None:
    found = [_described(folder, name) for name in names(folder)]
    if as_json:
        emit(found)
        return
    columns = ["name", *(["removes"] if folder == "methods" else []), "what it does", "settings"]
    table(columns, [_row(entry) for entry in found])
    if folder == "methods":
        say("Change a setting with --set KEY=VALUE. A method of your own is named module:Class.")


def _described(folder: Folder, name: str) -> dict[str, Any]:
    from expunge.cli.settings import told  # noqa: PLC0415 - it reads types, which needs the plug-in

    plugin = find(folder, name)
    defaults = {key: told(default) for key, default in settings(plugin).items()}
    entry: dict[str, Any] = {"name": name, "summary": summary(folder, name), "settings": defaults}
    for key in ("handles", "tasks"):
        if hasattr(plugin, key):
            kinds = getattr(plugin, key)
            entry[key] = [kind if isinstance(kind, str) else kind.__name__ for kind in kinds]
    return entry


def _row(entry: dict[str, Any]) -> list[str]:
    shown = ", ".join(f"{key}={value}" for key, value in entry["settings"].items())
    handles = [", ".join(entry["handles"]).lower()] if "handles" in entry else []
    return [entry["name"], *handles, entry["summary"], shown]
