"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from typer import Option

_TARGET = "What must be forgotten"

AsJson = Annotated[bool, Option("--json", help="Print JSON on stdout, and nothing else.")]
Config = Annotated[
    Path, Option("--config", help="The project's file.", metavar="FILE", show_default=True)
]
Labels = Annotated[
    list[str] | None,
    Option("--classes", help="Labels, such as 7,8.", metavar="LABELS", rich_help_panel=_TARGET),
]
Positions = Annotated[
    list[str] | None,
    Option(
        "--samples",
        help="Positions in the training set, such as 3,14, or @FILE with one on each line.",
        metavar="POSITIONS",
        rich_help_panel=_TARGET,
    ),
]
Property = Annotated[
    list[str] | None,
    Option(
        "--attribute",
        help="A property that the task can read.",
        metavar="NAME",
        rich_help_panel=_TARGET,
    ),
]
Settings = Annotated[
    list[str] | None,
    Option("--set", help="A setting of the method, such as epochs=10.", metavar="KEY=VALUE"),
]
Seed = Annotated[
    int, Option("--seed", help="The same seed gives the same weights.", min=0, max=2**62)
]
TierName = Annotated[
    str,
    Option(
        "--tier",
        help="How much evidence: smoke, standard or strict. By default the project says.",
        metavar="TIER",
    ),
]
Strict = Annotated[bool, Option("--strict", help="End with 1 on an inconclusive verdict too.")]
WithSamples = Annotated[
    bool,
    Option(
        "--with-samples",
        help="Put pictures of a few samples into the evidence and the report; else none is there.",
    ),
]

DEFAULT_CONFIG = Path("expunge.toml")
