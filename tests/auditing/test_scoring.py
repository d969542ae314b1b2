"""Raw scores: a third party computes the same numbers from them, and evidence holds none."""

import pytest
import torch
from scipy import stats

from expunge.attacks.threshold import Threshold
from expunge.metrics.membership import Membership
from expunge.storing import load_tensors


def by_hand(member, other):
    """Mann and Whitney's statistic, by somebody else's code."""
    found = stats.mannwhitneyu(member.numpy(), other.numpy())
    return found.statistic / (len(member) * len(other))


def test_the_evidence_can_be_computed_again_from_the_raw_scores(case, tmp_path):
    metric = Membership(Threshold("loss"))
    found = case.evidence([metric], scores=tmp_path / "scores.safetensors")
    raw, _ = load_tensors(tmp_path / "scores.safetensors")
    m = found.measurement(metric.label)
    for who, value in (("unlearned", m.value), ("original", m.original.value),
                       ("reference 2", m.target[2])):  # fmt: skip
        pair = (raw[f"{metric.label}, {side}, {who}"] for side in ("members", "non-members"))
        assert by_hand(*pair) == pytest.approx(value, abs=1e-9)


def test_scores_are_kept_in_double_precision_beside_the_ids(case, tmp_path):
    case.evidence([Membership(Threshold("loss"))], scores=tmp_path / "scores.safetensors")
    raw, _ = load_tensors(tmp_path / "scores.safetensors")
    assert torch.equal(raw["forget ids"], case.split.forget.indices)
    floats = [x for name, x in raw.items() if not name.endswith("ids")]
    assert all(x.dtype == torch.double for x in floats)
    assert len(raw["known, test, original"]) == 37


def test_without_a_file_nothing_is_kept(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case.evidence([Membership(Threshold("loss"))])
    assert [*tmp_path.iterdir()] == []
