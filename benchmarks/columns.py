"""What a table shows of every method: measurements, their headings, and what these mean."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from table import Cell


@dataclass(frozen=True)
class Column:
    """A measurement and its heading; several names where a request decides which one there is."""

    title: str
    names: tuple[str, ...]
    told: str  # what the heading means
    percent: bool = False
    digits: int = 3  # behind the point, where it is no percentage
    by_row: bool = False  # every row's method decides what is asked, of the original too

    def of(self, cell: Cell) -> list["Column"]:
        """The same for every attribute that leaves; itself, where it is about none."""
        if "{}" not in self.title:
            return [self]
        return [
            replace(self, title=self.title.format(a), names=tuple(n.format(a) for n in self.names))
            for a in cell.attributes
        ]


def glossary(shown: Iterable[Column]) -> str:
    """What the headings mean, one a line."""
    return "\n".join(f"- *{c.title.format('attribute')}*: {c.told}." for c in shown) + "\n"


COLUMNS = (
    Column(
        "forgotten, unseen",
        ("test accuracy, removed classes",),
        "accuracy on test samples of the class that leaves",
        percent=True,
    ),
    Column(
        "forgotten, trained on",
        ("forget accuracy",),
        "accuracy on the training samples that leave",
        percent=True,
    ),
    Column(
        "kept, unseen",
        ("test accuracy, kept classes", "test accuracy"),
        "accuracy on test samples of all that stays",
        percent=True,
    ),
    Column(
        "loss of the kept, unseen",
        ("test loss, kept classes", "test loss"),
        "mean loss on the same; a model that is right as often and less sure of it has lost too",
    ),
    Column(
        "kept, trained on",
        ("retain accuracy",),
        "accuracy on training samples that stay, of which 3,000 at most are asked",
        percent=True,
    ),
    Column(
        "average gap",
        ("average gap (points)",),
        "the mean distance to the retrained models, in points, in accuracy on the forgotten, the "
        "kept and the unseen samples, and in how many of the forgotten an attack takes for unseen; "
        "what each retrained model scores against the others stands in its row",
    ),
    Column(
        "AUS",
        ("AUS",),
        "DUCK's score: unseen accuracy that was kept, divided by one plus what is missed of "
        "forgetting; one is ideal, and it does not look behind the answers",
    ),
    Column("loss of the forgotten", ("forget loss",), "mean loss on the samples that leave"),
    Column(
        "threshold AUC",
        ("membership AUC, threshold (loss)",),
        "how well an attacker tells forgotten samples from unseen ones by their loss; what counts "
        "is the distance to retraining, not to 0.5",
    ),
    Column(
        "U-LiRA AUC",
        ("membership AUC, ulira (privacy)",),
        "the same for an attacker with shadow models. They are other ones in every row, unlearned "
        "by its method, so that only the difference in parentheses says something, and only where "
        "the attack *catches the original*: with how many seeds it would have stands beside it",
        by_row=True,
    ),
    Column(
        "probe AUC",
        ("class-probe AUC", "membership-probe AUC"),
        "how well a linear probe on the last features tells the forgotten class from the others "
        "(for samples: forgotten samples from unseen ones); what counts is the distance to "
        "retraining",
    ),
    Column(
        "relearning",
        ("relearning steps, removed classes", "relearning steps, removed samples"),
        "how many training steps on some of the forgotten samples bring back four fifths of what "
        "the original knew; no more than 400 are tried, and 400 may mean any number beyond. Who "
        "needs fewer than retrained models still holds something",
        digits=0,
    ),
    Column("task, unseen", ("test accuracy",), "accuracy on test samples", percent=True),
    Column(
        "{} beyond the task, bits",
        ("conditional leakage (bits), {}",),
        "what the best of several probes reads of it from the last features, beyond what the label "
        "tells",
    ),
    Column("{} in all, bits", ("leakage (bits), {}",), "the same, whatever the label tells"),
    Column(
        "{} gain over the guess",
        ("leakage (accuracy gain), {}",),
        "how much more often the probe is right than who always names the most frequent group",
        percent=True,
    ),
    Column(
        "{} in the logits, bits",
        ("conditional leakage in the logits (bits), {}",),
        "what is read from the answers, beyond what the label tells",
    ),
    Column(
        "{} after a re-attack, bits",
        ("re-attack (bits), {}",),
        "what is read beyond the task after an attacker has trained the whole network to tell it; "
        "in parentheses, the difference to the original, attacked in the same way as the row",
        by_row=True,
    ),
    Column(
        "parity gap of {}",
        ("demographic parity gap, {}",),
        "how much more often one group is given an answer than another",
        percent=True,
    ),
    Column(
        "odds gap of {}",
        ("equalised odds gap, {}",),
        "the same among samples of one true class",
        percent=True,
    ),
    Column(
        "worst group of {}",
        ("worst-group accuracy, {}",),
        "accuracy on the group that fares worst",
        percent=True,
    ),
)
