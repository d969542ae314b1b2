"""What `expunge doctor` looks at: every part by itself, so that one fault hides no other."""

from expunge.cli.examining.examination import examine
from expunge.cli.examining.findings import Findings, Problem

__all__ = ["Findings", "Problem", "examine"]
