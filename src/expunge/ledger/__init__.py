"""An append-only record of requests and how they ended, in which every entry seals the last.

A chain alone does not notice that its tail was cut off: every report prints the seal of its
entry, and `Ledger.verify` compares. The subject of a request is kept as a keyed hash only:
whoever destroys the key forgets the subject, and the chain still verifies.
"""

from expunge.ledger.bodies import Settlement
from expunge.ledger.chain import Entry
from expunge.ledger.ledger import Ledger

__all__ = ["Entry", "Ledger", "Settlement"]
