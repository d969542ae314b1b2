"""From evidence and verdict to a page that a person reads: one file, nothing fetched."""

from expunge.reporting.comparing import Judged
from expunge.reporting.page import Page
from expunge.reporting.rendering import overview, render

__all__ = ["Judged", "Page", "overview", "render"]
