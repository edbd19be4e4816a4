from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wukongctl.report import labels

MANY = [f"a rather long architecture name, variant {i}" for i in range(25)]


@pytest.mark.parametrize("names", [["dlrm", "a $ and a _"], MANY, [f"m{i}" for i in range(90)], ["x" * 200]])
def test_names_stay_on_the_canvas_without_overlap(names: list[str]) -> None:
    height = labels.height_for(len(names), 5.0, 1.2)
    inches = labels.width_for(names, 3.0)
    figure = Figure(figsize=(8.2, height))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.1, right=1 - inches / 8.2, top=1 - 0.6 / height, bottom=0.6 / height)
    shown = [labels.PlotLabel(name, 0.1 + 0.05 * i / len(names), "#000000") for i, name in enumerate(names)]
    labels.write(axes, shown, inches=inches, height=height, plain="#777777")
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == min(len(names), labels.MOST_NAMES + 1)
    canvas = figure.bbox
    assert all(box.x1 <= canvas.x1 and canvas.y0 <= box.y0 and box.y1 <= canvas.y1 for box in boxes)
    centers = [(box.y0 + box.y1) / 2 for box in boxes]
    least = labels.font_size(len(names)) * figure.dpi / 72
    assert all(upper - lower > least for lower, upper in pairwise(centers))


def test_long_names_lose_their_middle() -> None:
    short = labels.shorten("a rather long architecture name, variant 24", 10.5, 1.5)
    assert short.startswith("a rath")
    assert short.endswith("24")
    assert labels.width_of(short, 10.5) <= 1.5
    assert labels.shorten("dlrm", 10.5, 1.5) == "dlrm"
