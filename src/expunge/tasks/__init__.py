"""How to read a batch, and what the model was trained to do."""

from expunge.tasks.classification import Classification
from expunge.tasks.multilabel import MultiLabel
from expunge.tasks.regression import Regression
from expunge.tasks.task import Answer, Batch, Kind, Task

__all__ = ["Answer", "Batch", "Classification", "Kind", "MultiLabel", "Regression", "Task"]
