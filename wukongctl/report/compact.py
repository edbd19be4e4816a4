"""Shrink matplotlib's SVG for a page: what it writes per point is written once per curve."""

import re
from collections.abc import Iterator
from itertools import count, groupby

COORDINATES = re.compile(r'\b(?:d|x|y)="[^"]*"|translate\([^)]*\)')
LONG = re.compile(r"-?\d+\.\d{3,}")
SPACED = re.compile(r'\s*([A-Za-z"])\s*')
"""A command of a path, or the end of its text, with the white space around it."""
USE = re.compile(r'<use href="#([^"]+)" x="([^"]+)" y="([^"]+)" style="([^"]*)"/>')
USES = re.compile(rf"(?:{USE.pattern}\s*){{3,}}")
STROKE = re.compile(r'<path d="([^"]+)"( clip-path="[^"]+" style="fill: none; [^"]*")/>')
STROKES = re.compile(rf"(?:{STROKE.pattern}\s*){{2,}}")


def compact(element: str) -> str:
    """The same picture in fewer bytes: rounded coordinates, marks and strokes of one look in one element."""
    element = re.sub(r">\s+<", "><", COORDINATES.sub(_rounded, element))
    element = STROKES.sub(_one_path, element)
    numbers = count()
    return USES.sub(lambda found: _lines_of_marks(found.group(), numbers), element)


def _rounded(found: re.Match[str]) -> str:
    text = LONG.sub(lambda number: _short(float(number.group())), found.group())
    return SPACED.sub(r"\1", text) if text.startswith("d=") else text


def _short(value: float) -> str:
    """A place to a tenth of a point, or a number below ten, as in the outline of a mark, to a hundredth."""
    text = f"{value:.{1 if abs(value) >= 10 else 2}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _one_path(found: re.Match[str]) -> str:
    """Neighboring strokes of one look as one path."""
    strokes = STROKE.findall(found.group())
    looks = groupby(strokes, key=lambda stroke: stroke[1])
    return "".join(f'<path d="{"".join(path for path, _ in same)}"{look}/>' for look, same in looks)


def _lines_of_marks(uses: str, numbers: Iterator[int]) -> str:
    """Neighboring marks of one look as the vertices of an invisible line, whose markers they are."""
    looks = groupby(USE.findall(uses), key=lambda mark: (mark[0], mark[3]))
    written = []
    for (shape, style), marks in looks:
        name = f"{shape}-{next(numbers)}"
        points = " ".join(f"{x},{y}" for _, x, y, _ in marks)
        written.append(
            f'<marker id="{name}" overflow="visible" markerUnits="userSpaceOnUse">'
            f'<use href="#{shape}" style="{style}"/></marker>'
            f'<polyline points="{points}" style="fill: none; stroke: none; marker: url(#{name})"/>'
        )
    return "".join(written)
