"""What another benchmark has measured already: how well attacks do with few shadow models."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finding import Asked, Section, Stage
from table import grid

RESULTS = Path(__file__).parent / "results" / "shadows.json"
_PUBLISHED = {
    "loss, one threshold for all": {"62": ".576/.011"},
    "lira, normal": {"4": ".650/.028", "62": ".706/.142"},
    "lira, student with the average prior": {"4": ".674/.111", "62": ".707/.147"},
    "rmia, online": {"4": ".698/.122", "62": ".704/.126"},
    "rmia, offline": {"62": ".669/.072"},
}
_SECONDS = 8.4
_SOON = 12
_CLOCKS = ["way", "networks", "digits", "threads", "seconds", "processor, for 128", "load"]


def parts(settings: Mapping[str, Any]) -> list[str]:
    """Nothing is measured here."""
    del settings
    return []


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Nothing is measured here."""
    raise NotImplementedError(part, settings, stage)


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """The tables of results/shadows.json, with published values in parentheses."""
    del found, settings
    if not RESULTS.exists():
        return Section(("Not run: `python benchmarks/shadows.py`.\n",))
    told = json.loads(RESULTS.read_text())
    attacks, speed = told["attacks"]["by pairs"], told["speed"]
    body = [
        [
            name,
            *(
                _cell(attacks[pairs][name], _PUBLISHED.get(name, {}).get(pairs))
                for pairs in attacks
            ),
        ]
        for name in next(iter(attacks.values()))
    ]
    ways = [
        [
            way,
            str(each["models"]),
            str(each["records"]),
            str(each["threads"]),
            *(f"{each[name]:.1f}" for name in ("seconds", "process seconds for 128", "load")),
        ]
        for way, each in speed.items()
    ]
    text = (
        _READING,
        grid(["attack", *(f"{pairs} pairs" for pairs in attacks)], body),
        f"To train networks on clean digits; 128 were published as {_SECONDS} s elsewhere:\n",
        grid(_CLOCKS, ways),
    )
    few, many = attacks["4"]["lira, student"], attacks["62"]["lira, student"]
    plain = attacks["4"]["loss, one threshold for all"]
    claim = "with 4 pairs the student ratio finds most of what it finds with 62"
    share = (few["auc"] - plain["auc"]) / (many["auc"] - plain["auc"])
    shown = f"AUC {few['auc']:.3f} of {many['auc']:.3f}, above a threshold's {plain['auc']:.3f}"
    took = speed["auto"]["seconds"]
    each = speed["auto"]["records"]
    wanted = f"128 networks are trained on {each} digits each within {_SOON} s"
    soon = Asked(wanted, f"{took:.1f} s", took <= _SOON)
    return Section(text, (Asked(claim, shown, share > 0.5), soon))


def _cell(each: Mapping[str, float], published: str | None) -> str:
    beside = "" if published is None else f" ({published})"
    return f"{each['auc']:.3f} / {each['tpr at 1% fpr']:.3f}{beside}"


_READING = """\
AUC and TPR at 1 % FPR on 16 networks that were trained on halves of 1,200 digits, a tenth of them
under a random label. Measured by `python benchmarks/shadows.py`; in parentheses: published values.
"""
