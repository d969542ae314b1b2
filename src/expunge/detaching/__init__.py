"""Detach attributes from representations while they are learned (methods/detach.py).

A survey counts what there is to know. At one depth of the model or several, critics guess the
attributes from features, decoders hold the inputs in them, and the features are charged for what
the critics know.
"""

from expunge.detaching.critics import Training
from expunge.detaching.holding import Aim, Estimator
from expunge.detaching.penalising import Penalty, penalty
from expunge.detaching.weighing import Weights

__all__ = ["Aim", "Estimator", "Penalty", "Training", "Weights", "penalty"]
