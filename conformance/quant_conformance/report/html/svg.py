"""Small drawings as inline SVG; text from outside is escaped by the serializer."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from markupsafe import Markup

from quant_conformance.report.html.words import Tone

Number = float | int


class Drawing:
    """An SVG image that scales with its box; colours and fonts come from the style sheet.

    Args:
        width: width of the coordinate system.
        height: height of it.
        css: class of the image.
        title: what it is, in a few words; without one it is hidden from screen readers.
        description: what it shows, in sentences.
        name: prefix of its ids, unique in the page; needed with a title.
    """

    def __init__(
        self,
        width: Number,
        height: Number,
        css: str,
        *,
        title: str = "",
        description: str = "",
        name: str = "",
    ) -> None:
        self._root = Xml.Element("svg", viewBox=f"0 0 {_text(width)} {_text(height)}")
        self._root.set("class", css)
        if not title:
            self._root.set("aria-hidden", "true")
            return
        self._root.set("role", "img")
        self._root.set("aria-labelledby", f"{name}-title {name}-desc")
        Xml.SubElement(self._root, "title", id=f"{name}-title").text = title
        Xml.SubElement(self._root, "desc", id=f"{name}-desc").text = description

    def stretch(self) -> None:
        """Lets the image fill its box whatever the proportions; for drawings without text."""
        self._root.set("preserveAspectRatio", "none")

    def rect(self, x: Number, y: Number, width: Number, height: Number, css: str) -> None:
        """Draws a rectangle."""
        self._add("rect", css, x=x, y=y, width=width, height=height)

    def line(self, x1: Number, y1: Number, x2: Number, y2: Number, css: str) -> None:
        """Draws a line."""
        self._add("line", css, x1=x1, y1=y1, x2=x2, y2=y2)

    def circle(self, x: Number, y: Number, radius: Number, css: str) -> None:
        """Draws a disc."""
        self._add("circle", css, cx=x, cy=y, r=radius)

    def triangle(self, x: Number, y: Number, size: Number, css: str) -> None:
        """Draws a triangle whose upper corner is (x, y)."""
        corners = f"M{_text(x)} {_text(y)}l{_text(size)} {_text(2 * size)}h{_text(-2 * size)}z"
        Xml.SubElement(self._root, "path", {"class": css, "d": corners})

    def cross(self, x: Number, y: Number, size: Number, css: str) -> None:
        """Draws a cross with its middle in (x, y)."""
        whole = _text(2 * size)
        strokes = (
            f"M{_text(x - size)} {_text(y - size)}l{whole} {whole}m0 -{whole}l-{whole} {whole}"
        )
        Xml.SubElement(self._root, "path", {"class": css, "d": strokes})

    def text(self, x: Number, y: Number, words: str, css: str, anchor: str = "middle") -> None:
        """Writes words with their base line at y."""
        element = self._add("text", css, x=x, y=y)
        element.set("text-anchor", anchor)
        element.text = words

    def markup(self) -> Markup:
        """Returns the image for a page."""
        return Markup(Xml.tostring(self._root, encoding="unicode"))  # escaped by the serializer

    def _add(self, kind: str, css: str, **numbers: Number) -> Xml.Element:
        attributes = {name: _text(value) for name, value in numbers.items()}
        return Xml.SubElement(self._root, kind, {"class": css, **attributes})


def bar(share: float, tone: Tone | str) -> Markup:
    """Draws a share of 1 as a horizontal bar; the number itself is beside it as text."""
    drawing = Drawing(100, 8, "bar")
    drawing.stretch()
    drawing.rect(0, 0, 100, 8, "track")
    width = 100 * min(max(share, 0.0), 1.0)
    if width:
        drawing.rect(0, 0, max(width, 1.0), 8, str(tone))  # the least share can still be seen
    return drawing.markup()


def stacked(parts: Sequence[tuple[int, Tone]]) -> Markup:
    """Draws counts side by side as one bar; the numbers are beside it as text."""
    drawing = Drawing(100, 8, "bar")
    drawing.stretch()
    drawing.rect(0, 0, 100, 8, "track")
    total, left = sum(number for number, _ in parts), 0.0
    for number, tone in parts:
        if number:
            width = 100 * number / total
            drawing.rect(left, 0, width, 8, tone)
            left += width
    return drawing.markup()


def _text(value: Number) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
