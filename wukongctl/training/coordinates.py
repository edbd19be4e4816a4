"""The coordinate check: how large a layer's outputs are, and how far a few steps move them, by width.

After the coordinate check of Yang et al. (arXiv 2203.03466, github.com/microsoft/mup): if rates transfer
across widths, no output of a layer grows with the width, and what training changes in it neither grows nor
vanishes.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from wukongctl.config.resizing import resized, width_of
from wukongctl.config.sweep import ScaleRule
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Batch
from wukongctl.errors import RunFailed
from wukongctl.models import Model
from wukongctl.models.layers import Dropout
from wukongctl.training import feeds, hardware
from wukongctl.training.distributed import ALONE
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.plan import new_model
from wukongctl.training.transfer import transfer
from wukongctl.training.update import Update

GROWS, SHRINKS = 0.25, -0.55
"""Powers of the width beyond which a slope is not constant. Rates that stay the same make outputs grow with a
power of up to 1. The first steps also move outputs at random, by less and less as sums over more terms
average out: with a power of -1/2, so that slopes down to there tell nothing."""

LayerVerdict: TypeAlias = Literal["stable", "grows", "shrinks"]
Outputs: TypeAlias = dict[str, Tensor]
"""Name of a layer → its output for one batch."""


@dataclass(frozen=True)
class LayerScales:
    """Root mean squares of one layer's outputs, one for each width, and their slopes on logarithmic axes."""

    layer: str
    activations: tuple[float, ...]
    """After training."""
    updates: tuple[float, ...]
    """Of what training changed."""
    activation_slope: float
    update_slope: float

    @property
    def verdict(self) -> LayerVerdict:
        """Outputs may shrink, as those of a last layer do before training; their changes may not."""
        if max(self.activation_slope, self.update_slope) > GROWS:
            return "grows"
        return "shrinks" if self.update_slope < SHRINKS else "stable"


def check(
    recipe: TrainingSpec, *, data: Path, widths: Sequence[int], rule: ScaleRule, steps: int, seeds: int
) -> list[LayerScales]:
    """Train `steps` steps of `recipe` at each width, with its rates scaled by `rule`, and no schedule.

    Widths are those of embeddings; hidden layers keep their ratio to them. Scales are geometric means over
    seeds. Raises UsageError for widths the model cannot have, RunFailed when an output is not finite.
    """
    folder = data / recipe.data
    manifest = manifests.read(folder)
    measured = []
    for width in widths:
        sized = transfer(resized(recipe, width), recipe, manifest.schema(), rule)
        seeded = [sized.model_copy(update={"seed": recipe.seed + seed}) for seed in range(seeds)]
        measured.append([scales_of(each, manifest, folder, steps) for each in seeded])
    layers = [name for name in measured[0][0] if all(name in found for runs in measured for found in runs)]
    return [_summary(name, widths, measured) for name in layers]


def slope(widths: Sequence[int], scales: Sequence[float]) -> float:
    """Power of the width that the scales follow, by least squares on logarithms; 0 for scales of zero."""
    if min(scales) <= 0:
        return 0.0
    return float(np.polyfit(np.log(widths), np.log(scales), 1)[0])


def _summary(
    name: str, widths: Sequence[int], measured: Sequence[Sequence[Mapping[str, tuple[float, float]]]]
) -> LayerScales:
    activations, updates = (
        tuple(_geometric_mean([found[name][which] for found in runs]) for runs in measured)
        for which in (0, 1)
    )
    return LayerScales(name, activations, updates, slope(widths, activations), slope(widths, updates))


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0


def scales_of(
    recipe: TrainingSpec, manifest: Manifest, folder: Path, steps: int
) -> dict[str, tuple[float, float]]:
    """Layer → scale of its outputs after `steps` steps, and of their change, on the first batch."""
    execution = hardware.execution(recipe)
    execution.apply()
    torch.manual_seed(recipe.seed)
    model = new_model(recipe, manifest, folder).to(execution.device)
    update = Update(recipe, ParallelModel(model, recipe, ALONE), execution)
    feed = feeds.choose(feeds.train_reader(recipe, manifest, folder), recipe, execution, ALONE)
    shards = list(itertools.islice(feeds.endless(feed), steps))
    model.train()
    before = _outputs(model, shards[0].batch)
    for shard in shards:
        update(shard, 1.0)
    after = _outputs(model, shards[0].batch)
    scales = {name: (_rms(after[name]), _rms(after[name] - before[name])) for name in after}
    if broken := next((name for name, pair in scales.items() if not all(map(math.isfinite, pair))), None):
        raise RunFailed(
            f"the output of `{broken}` is not finite after {steps} steps at width {width_of(recipe)}",
            hint="lower the learning rates",
        )
    return scales


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


@torch.no_grad()
def _outputs(model: Model, batch: Batch) -> Outputs:
    """The output of every module with weights of its own, in the order of the forward pass."""
    found: Outputs = {}
    with _without_dropout(model), _recorded(model, found):
        model(batch)
    return found


@contextmanager
def _recorded(model: nn.Module, found: Outputs) -> Iterator[None]:
    seen: list[Tensor] = []

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def record(_module: nn.Module, _inputs: object, output: object) -> None:
            # A module may end in another one, whose output it returns.
            if isinstance(output, Tensor) and not any(output is other for other in seen):
                seen.append(output)
                found[name] = output.detach().float().clone()

        return record

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if name and any(True for _ in module.parameters(recurse=False))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Batch norm keeps using the batch's own statistics, as in training."""
    parts = [module for module in model.modules() if isinstance(module, Dropout)]
    for part in parts:
        part.eval()
    yield
    for part in parts:
        part.train()
