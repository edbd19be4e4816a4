from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wukongctl.report import labels

MANY = [f"a rather long architecture name, variant {i}" for i in range(25)]


@pytest.mark.parametrize("names", [["dlrm", "a $ and a _"], MANY, [f"m{i}" for i in range(90)], ["x" * 200]])
def test_names_stay_on_the_canvas_without_overlap(names: list[str]) -> None:
    size = labels.font_size(names, 3.0)
    height = labels.height_for(len(names), size, 5.0, 1.2)
    inches = labels.width_for(names, size, 3.0)
    figure = Figure(figsize=(8.2, height))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.1, right=1 - inches / 8.2, top=1 - 0.6 / height, bottom=0.6 / height)
    shown = [labels.PlotLabel(name, 0.1 + 0.05 * i / len(names), "#000000") for i, name in enumerate(names)]
    labels.write(axes, shown, size=size, inches=inches, height=height, plain="#777777")
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == min(len(names), labels.MOST_NAMES + 1)
    canvas = figure.bbox
    assert all(box.x1 <= canvas.x1 and canvas.y0 <= box.y0 and box.y1 <= canvas.y1 for box in boxes)
    centers = [(box.y0 + box.y1) / 2 for box in boxes]
    least = size * figure.dpi / 72
    assert all(upper - lower > least for lower, upper in pairwise(centers))


def test_long_names_lose_their_middle() -> None:
    short = labels.shorten("a rather long architecture name, variant 24", 10.5, 1.5)
    assert short.startswith("a rath")
    assert short.endswith("24")
    assert labels.width_of(short, 10.5) <= 1.5
    assert labels.shorten("dlrm", 10.5, 1.5) == "dlrm"


def test_names_are_written_small_before_they_are_shortened() -> None:
    names = ["wukong 4.64 MFLOP", "wukong 21.5 MFLOP"]
    size = labels.font_size(names, 1.7)
    assert size < labels.font_size(names, 3.0)
    assert [labels.shorten(name, size, 1.7 - labels.LEADER_INCHES) for name in names] == names
