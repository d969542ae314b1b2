"""What many models tell that one does not: digits, of which a tenth wear a random label."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_few_pairs_find_what_a_threshold_misses(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import shadows  # noqa: PLC0415 - a script beside the package

    monkeypatch.setattr(shadows, "MODELS", 40)
    monkeypatch.setattr(shadows, "TARGETS", 12)
    monkeypatch.setattr(shadows, "PAIRS", (4, 16))
    found = shadows.attacks()["by pairs"]
    few, many = found[4], found[16]
    plain = few["loss, one threshold for all"]
    assert plain["auc"] == pytest.approx(0.576, abs=0.02)
    assert few["lira, student"]["auc"] == pytest.approx(0.69, abs=0.03)
    assert few["lira, student"]["tpr at 1% fpr"] >= 5 * plain["tpr at 1% fpr"]
    assert many["lira, student"]["auc"] == pytest.approx(0.707, abs=0.03)
    assert many["lira, normal"]["auc"] == pytest.approx(0.70, abs=0.03)
    assert many["rmia, online"]["auc"] == pytest.approx(0.704, abs=0.03)
    sys.modules.pop("shadows", None)
