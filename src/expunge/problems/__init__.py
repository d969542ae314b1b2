"""Ready problems: data, task and recipe in one value."""

from expunge.problems.problem import Problem

__all__ = ["Problem"]
