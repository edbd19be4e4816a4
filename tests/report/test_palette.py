import numpy as np
import pytest
from numpy.typing import NDArray

from wukongctl.report.canvas import color_of, marker_of
from wukongctl.report.palette import COLORS, DARK_COLORS, NAMES

Array = NDArray[np.float64]
WHITE, DARK_CARD = "#ffffff", "#151b23"
# Complete color blindness: Machado, Oliveira and Fernandes 2009, https://doi.org/10.1109/TVCG.2009.113.
VISION = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# OKLab: https://bottosson.github.io/posts/oklab/. Neighbors at a distance of 0.02 can just be told apart.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LEAST_DISTANCE, LEAST_CONTRAST = 0.07, 3.0


def linear(color: str) -> Array:
    channels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def closest(colors: tuple[str, ...], vision: Array) -> float:
    seen = np.clip(np.array([linear(color) for color in colors]) @ vision.T, 0, 1)
    lab = np.cbrt(seen @ TO_CONES.T) @ TO_LAB.T
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(distances[np.triu_indices(len(colors), 1)].min())


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colors", [COLORS, DARK_COLORS], ids=["light", "dark"])
def test_any_two_curves_can_be_told_apart_by_color(colors: tuple[str, ...], vision: str) -> None:
    assert closest(colors, VISION[vision]) > LEAST_DISTANCE
    assert len(colors) == len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize(
    ("colors", "card"), [(COLORS, WHITE), (DARK_COLORS, DARK_CARD)], ids=["light", "dark"]
)
def test_curves_stand_out_from_the_page(colors: tuple[str, ...], card: str) -> None:
    """Contrast 3:1, as WCAG asks of graphics."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    for color in colors:
        dark, light = sorted(float(linear(each) @ weights) + 0.05 for each in (color, card))
        assert light / dark >= LEAST_CONTRAST, color


def test_curves_of_one_color_have_different_markers() -> None:
    assert len({(color_of(index), marker_of(index)) for index in range(64)}) == 64
