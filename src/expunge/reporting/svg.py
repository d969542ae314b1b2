"""A chart as SVG that stands in the page: no script, no font, no address, colours from the page."""

import re
from xml.etree import ElementTree as ET

import vl_convert
from markupsafe import Markup

from expunge.reporting.looks import INK, QUIET, RULE, Chart

_FONT = "system-ui, 'Liberation Sans', Arial, sans-serif"
_CONFIG = {
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET, "titleColor": QUIET, "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "titlePadding": 10, "gridColor": RULE, "domainColor": RULE,
        "tickColor": RULE, "tickSize": 4, "labelPadding": 5,
    },
    "axisX": {"labelFlush": False},
    "axisY": {"domain": False, "ticks": False},
    "legend": {
        "orient": "top", "labelColor": INK, "titleColor": QUIET, "titleFontWeight": "normal",
        "labelFontSize": 12, "symbolSize": 90, "symbolStrokeWidth": 2, "offset": 8,
        "columnPadding": 18,
    },
    "header": {"labelFontSize": 12, "labelColor": INK},
}  # fmt: skip
_LONG = re.compile(r"(\.\d)\d+")


def svg(chart: Chart, alt: str) -> Markup:
    """Draw a chart; ``alt`` says in words what it shows."""
    spec = chart.to_dict(validate=False)  # the tests validate; a reader should not wait for it
    spec["config"] = _CONFIG
    drawn = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    root = ET.fromstring(re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", drawn))  # noqa: S314 - ours
    for element in root.iter():
        _quieten(element)
    box = root.get("viewBox", "")
    root.attrib = {"viewBox": box, "role": "img", "aria-label": alt}
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - escaped on writing


def _quieten(element: ET.Element) -> None:
    """Keep what can be seen; what a mark says of itself becomes its tooltip."""
    said = element.attrib.pop("aria-label", "")
    role = element.attrib.pop("aria-roledescription", "")
    for name in ("role", "aria-hidden", "class", "pointer-events", "id"):
        element.attrib.pop(name, None)
    for name in ("d", "transform", "x", "y", "x2", "y2", "width", "height"):
        if name in element.attrib:
            element.set(name, _LONG.sub(r"\1", element.attrib[name]))
    if said and role in {"bar", "point", "circle", "rect", "square"} and len(element) == 0:
        ET.SubElement(element, "title").text = said
