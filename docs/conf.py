"""Sphinx: MyST pages, the furo theme, and nothing fetched from anywhere."""  # noqa: INP001 - a script

import re
from importlib.metadata import version as installed
from typing import Any

from sphinx.application import Sphinx

project = "expunge"
author = "The expunge founders"
copyright = "2026, the expunge founders"  # noqa: A001 - Sphinx names it
release = version = installed("expunge")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "py:obj"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"

pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = "expunge"
html_static_path = ["_static"]
html_css_files = ["expunge.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7fb8de", "color-brand-content": "#7fb8de"},
}


def setup(app: Sphinx) -> None:
    """Let signatures be read before they are written."""
    app.connect("autodoc-process-signature", _readable)


def _readable(*given: Any) -> tuple[str, str] | None:
    """Name functions that are defaults; Sphinx cannot parse ``<function first>``."""
    *_, signature, returned = given
    if signature is None:
        return None
    if signature == "(*args, **kwargs)":  # a protocol, which nobody calls
        return "", ""
    named = re.sub(r"<function (\w+)>", r"\1", signature)
    return named.replace("<factory>", "..."), returned
