"""What a training run leaves behind, on disk: read while it is written, and purged when it must be.

Read upwards: a header, records that are framed and checked, segments that hold them, the scrubbing
that takes samples out of these, the history that a reader sees, and the ring that a tape winds.
"""

from expunge.history.history import History, Start, Step
from expunge.history.scrubbing import Purged

__all__ = ["History", "Purged", "Start", "Step"]
