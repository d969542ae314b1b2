"""What a report cannot show: by what was asked, by what was measured, and by the tier."""

from collections.abc import Iterator

from expunge.evidence import FEWEST, Evidence
from expunge.judging import BEHIND, BLIND, REHEARSAL
from expunge.tiers import SHARPER

_ALWAYS = (
    (
        "It speaks about these weights only: not about backups, earlier checkpoints, caches, "
        "models derived or distilled from this one, embeddings already exported, or copies of the "
        "data."
    ),
    "The margin is a choice: how large a difference would not matter was declared, not discovered.",
    "An inconclusive verdict is not a pass.",
    "Evidence is never proof. Another question, or a better attack, may find what these missed.",
)


def limits(evidence: Evidence) -> list[str]:
    """One sentence or two for every limit; the gravest first."""
    kind = evidence.provenance.kind
    found = list(_of_tier(evidence))
    if kind in {"classes", "mixed"}:
        found += _of_classes(evidence)
    if kind in {"samples", "mixed"}:
        found += _of_samples(evidence)
    if kind == "attribute":
        found += _of_attributes()
    return [*found, *_ALWAYS]


def _of_tier(evidence: Evidence) -> Iterator[str]:
    count = len(evidence.provenance.reference_seeds)
    if evidence.provenance.kind == "attribute":
        return
    if count == 0:
        yield (
            "Nothing was retrained, so there was nothing to compare with. Every number describes "
            "the model; none of them can say that something was forgotten."
        )
        return
    drawn = "1 model" if count == 1 else f"{count} models"
    lots = "1 draw" if count == 1 else f"{count} draws"
    yield (
        f"“Retrained” means {drawn}. Training is a lottery, and {lots} may not show all of its "
        f"range."
    )
    if count < FEWEST:
        yield (
            f"This is a smoke test: with fewer than {FEWEST} retrained models nothing can be "
            f"called equivalent."
        )


def _of_classes(evidence: Evidence) -> Iterator[str]:
    looked = [name for name in BEHIND if _measured(evidence, name)]
    if looked:
        yield (
            f"Behind the answers lay only what {' and '.join(looked)} can see: with more samples, "
            f"more steps or another probe, more of a class may come back."
        )
        return
    yield (
        "Answers were compared, not what lies behind them. A class that is only hidden, say by a "
        "mask over one output, would pass as well as one that is gone; a little further training "
        "could bring it back."
    )


def _of_samples(evidence: Evidence) -> Iterator[str]:
    if not _measured(evidence, BLIND):
        yield (
            "Nobody checked whether forgotten and test samples differ in more than membership. If "
            "they do, a membership AUC measures that as well; the retrained models, asked about "
            "the same samples, show how much."
        )
    if _measured(evidence, SHARPER):
        yield (
            "Attacks on single samples learnt from few shadow models. With hundreds of them, more "
            "of a single, unusual sample can be found."
        )
    else:
        yield (
            "The membership attacks used here treat all samples alike. They see what leaks on "
            "average, and miss most of what a stronger attack finds about a single, unusual sample."
        )
    if _measured(evidence, REHEARSAL):
        yield (
            "A rehearsal judges the way of training and of unlearning, not these weights. Its "
            "bound says how much leaks at least, and never how much at most."
        )
    else:
        yield (
            "Nobody rehearsed the pipeline: whether it leaks about people who were not in this "
            "request is not known."
        )


def _of_attributes() -> tuple[str, ...]:
    return (
        (
            "Zero bits are zero bits for these families of probes, at these layers, with so many "
            "samples. A better probe may find more, and a longer attack may bring more back."
        ),
        (
            "Only the features and what follows them were to change: layers before them may tell "
            "all that they told."
        ),
        (
            "What features tell is not what answers do with it. A model that tells nothing can "
            "treat groups unlike where they differ in truth, and a fair one can tell all."
        ),
    )


def _measured(evidence: Evidence, name: str) -> bool:
    return evidence.measurement(name).value is not None
