"""Scale a Wukong recipe up or down to a given cost, in the order recommended by arXiv 2403.02545.

First the number of layers, which raises the order of interactions; then n_F, n_L, k and the hidden sizes of
the MLPs together; finally the hidden sizes alone, to meet the budget.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wukongctl.config.training import TrainingSpec
from wukongctl.config.wukong import WukongSpec
from wukongctl.cost.counting import count_spec
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError

MAX_LAYERS = 8
"""The largest number of layers in the paper."""
TOLERANCE = 0.05


@dataclass(frozen=True)
class Solution:
    """The proposed recipe and what it costs in training GFLOP per example."""

    recipe: TrainingSpec
    gflop: float


def solve(recipe: TrainingSpec, schema: Schema, gflop: float) -> Solution:
    """The largest Wukong that costs at most `gflop`; raises UsageError when it costs over 5 % less."""
    model = recipe.model
    if not isinstance(model, WukongSpec):
        raise UsageError(
            f"`--solve` needs a `wukong` model, the recipe has `{model.name}`", hint="try `frappe/wukong`"
        )
    if not (isinstance(model.n_F, int) and isinstance(model.n_L, int) and isinstance(model.k, int)):
        raise UsageError(
            "`--solve` needs one `n_F`, `n_L` and `k` for all layers",
            hint="use single numbers",
        )

    _single_hidden(model)

    def cost(spec: WukongSpec) -> float:
        return count_spec(spec, schema).gflop

    found = _solve(model, cost, gflop)
    reached = cost(found)
    if not (1 - TOLERANCE) * gflop <= reached <= gflop:
        raise UsageError(
            f"cannot scale this recipe to {gflop:g} GFLOP per example; the closest is {reached:.4g}",
            hint="change `model.width`, `model.head` or `model.bottom`, which are not scaled",
        )
    name = f"{recipe.run_name}-{gflop:g}-gflop"
    return Solution(recipe.model_copy(update={"name": name, "model": found}), reached)


def _solve(start: WukongSpec, cost: Callable[[WukongSpec], float], gflop: float) -> WukongSpec:
    layers = _largest(lambda n: cost(start.model_copy(update={"layers": n})) <= gflop, MAX_LAYERS)
    deep = start.model_copy(update={"layers": max(layers, 1)})
    # In steps of 1/64, so that an integer search can scale both up and down.
    scale = _largest(lambda s: cost(_scaled(deep, s / 64, s / 64)) <= gflop, 64 * 4096) / 64
    rows = max(scale, 1 / 64)
    width = _largest(lambda s: cost(_scaled(deep, rows, s / 256)) <= gflop, 256 * 65536) / 256
    return _scaled(deep, rows, max(width, 1 / 256))


def _scaled(spec: WukongSpec, rows: float, width: float) -> WukongSpec:
    """`spec` with n_F, n_L and k multiplied by `rows`, and the hidden sizes of its MLPs by `width`."""
    assert isinstance(spec.n_F, int)
    assert isinstance(spec.n_L, int)
    assert isinstance(spec.k, int)
    return spec.model_copy(
        update={
            "n_F": _rounded(spec.n_F * rows),
            "n_L": _rounded(spec.n_L * rows),
            "k": _rounded(spec.k * rows),
            "hidden": tuple(_rounded(one * width) for one in _single_hidden(spec)),
        }
    )


def _single_hidden(spec: WukongSpec) -> tuple[int, ...]:
    sizes = {layer.hidden for layer in spec.layer_sizes}
    if len(sizes) > 1:
        raise UsageError(
            "`--solve` needs one `hidden` for all layers", hint="use the same `hidden` in every layer"
        )
    return sizes.pop()


def _rounded(size: float) -> int:
    """Rounded down to an integer; to a multiple of 8 from 128, of 32 from 512, for the hardware."""
    step = 32 if size >= 512 else 8 if size >= 128 else 1
    return max(1, int(size // step) * step)


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest integer up to `limit` that fits, by doubling and bisection; 0 when 1 does not fit."""
    low, high = 0, 1
    while high <= limit and fits(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
