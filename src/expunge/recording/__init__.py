"""Record a training run with two lines: watch the loader, follow the optimizer, wind the tape."""

from expunge.recording.tape import Recording, Summary, Tape, record

__all__ = ["Recording", "Summary", "Tape", "record"]
