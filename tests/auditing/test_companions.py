"""What an audit compares with: what a tier makes, what it was given, and what cannot be made."""

import pytest

from expunge import Evidence, Outcome
from expunge.auditing import audit
from expunge.ensembles import References
from expunge.errors import Diverged, MissingInput
from expunge.methods.finetune import Finetune
from expunge.rehearsing import rehearse
from expunge.shadowing import shadow_of
from expunge.tiers import SHARPER


@pytest.mark.parametrize(
    ("tier", "made"),
    [
        ("smoke", []),
        ("standard", [("references", 5), ("shadows", 16)]),
        ("strict", [("references", 20), ("shadows", 64), ("repeats", 32)]),
    ],
)
def test_a_tier_makes_what_it_compares_with_and_was_not_given(case, tier, made, monkeypatch):
    asked = []

    def never(what, number):
        return lambda *_, **given: asked.append((what, given[number]))

    def refuse(*_, count, **__):
        asked.append(("shadows", count))
        raise MissingInput("nobody comes and goes")

    monkeypatch.setattr("expunge.gathering.retrain", never("references", "seeds"))
    monkeypatch.setattr("expunge.gathering.shadow_of", refuse)
    monkeypatch.setattr("expunge.gathering.repeat", never("repeats", "seeds"))
    audit(case.outcome, [], tier=tier, recipe=case.recipe)
    assert asked == made


def test_a_method_that_fails_on_another_original_is_no_fault_of_the_audit(case, monkeypatch):
    def refuse(*_, **__):
        raise Diverged("weights are not finite")

    monkeypatch.setattr("expunge.gathering.shadow_of", refuse)
    monkeypatch.setattr("expunge.gathering.repeat", refuse)
    given = {"recipe": case.recipe, "references": case.references, "tier": "strict"}
    found = audit(case.outcome, [], **given)
    assert "not finite" in found.measurement("repeated unlearning").note
    assert "not finite" in found.measurement(SHARPER).note


def test_no_shadow_models_are_made_for_a_model_of_somebody_else_and_the_evidence_says_why(case):
    outcome = Outcome.of(case.model, case.outcome.after, case.split, task=case.task)
    found = audit(outcome, [], recipe=case.recipe, references=case.references)
    assert "did not say how" in found.measurement(SHARPER).note


def test_shadow_models_attack_single_samples_and_are_told_in_the_provenance(case):
    shadows = shadow_of(case.outcome, case.recipe, count=4)
    found = audit(case.outcome, [], references=case.references, shadows=shadows)
    assert found.measurement(SHARPER).comparison is not None
    assert found.provenance.digests["shadow models"] == shadows.digest
    assert "training shadow models (4 models)" in found.provenance.spent


def test_a_rehearsal_is_part_of_the_evidence(case):
    data = case.split.retain.source
    rehearsal = rehearse(case.recipe, data, Finetune(epochs=1), task=case.task, canaries=12)
    found = audit(case.outcome, [], references=case.references, rehearsal=rehearsal)
    assert found.measurement("rehearsal p").value == rehearsal.p
    assert found.measurement("rehearsal epsilon at least").n == rehearsal.made
    commitment = found.provenance.digests["pledge of the rehearsal"]
    assert commitment == rehearsal.pledge.commitment
    assert Evidence.from_json(found.to_json()).digest == found.digest


@pytest.mark.parametrize(
    ("count", "tier"), [(0, "smoke"), (2, "smoke"), (3, "standard"), (20, "strict")]
)
def test_evidence_names_the_tier_that_its_references_amount_to(case, count, tier):
    some = References(case.references.members[:1] * count)
    assert audit(case.outcome, [], tier="strict", references=some).provenance.tier == tier
