"""What a report cannot show hangs on what was asked, what was measured and how much was made."""

from dataclasses import replace

import pytest

from expunge.metric import Measurement
from expunge.reporting.limits import limits


@pytest.fixture
def said(evidence):
    def made(kind, *names, seeds=(0, 1, 2)):
        seen = replace(evidence.provenance, kind=kind, reference_seeds=seeds)
        measured = tuple(Measurement(name, 0.5) for name in names)
        return " ".join(limits(replace(evidence, provenance=seen, measurements=measured)))

    return made


def test_a_class_that_was_looked_at_behind_its_answers_is_not_said_to_be_maybe_hidden(said):
    assert "only hidden" in said("classes")
    behind = said("classes", "relearning steps, removed classes")
    assert "only hidden" not in behind
    assert "relearning steps, removed classes can see" in behind


def test_what_was_checked_is_no_limit_any_more(said):
    plain = said("samples")
    assert "Nobody checked whether" in plain
    assert "treat all samples alike" in plain
    assert "Nobody rehearsed" in plain
    full = said("samples", "blind baseline AUC", "membership AUC, ulira (privacy)", "rehearsal p")
    assert "Nobody" not in full
    assert "few shadow models" in full
    assert "never how much at most" in full


@pytest.mark.parametrize(
    ("seeds", "words"),
    [((), "Nothing was retrained"), ((0, 1), "smoke test"), ((0, 1, 2), "3 draws")],
)
def test_the_tier_has_its_own_limits(seeds, words, said):
    assert words in said("samples", seeds=seeds)
    assert ("smoke test" in said("classes", seeds=seeds)) == (len(seeds) == 2)


@pytest.mark.parametrize("kind", ["samples", "classes", "attribute", "mixed"])
def test_every_report_ends_with_what_holds_for_all(kind, said):
    assert said(kind).endswith("may find what these missed.")
