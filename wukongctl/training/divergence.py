"""What to change after a run diverged: unscaled inputs first, then the learning rates."""

from pathlib import Path

from wukongctl.data import next_steps
from wukongctl.data.manifest import Feature, Manifest

LARGE = 1e3
"""Standardized numbers are seldom this large."""
SLOWER = "lower `optimizer.dense.lr` and `optimizer.embedding.lr`, or lengthen `schedule.warmup`"


def remedy(manifest: Manifest, dataset: Path) -> str:
    """A hint: the feature with the largest values if they are too large for a network, else lower rates."""
    read = {name: _largest(manifest, name) for name in manifest.schema().numeric}
    name = max(read, key=read.__getitem__, default=None)
    if name is None or read[name] < LARGE:
        return SLOWER
    feature = next(feature for feature in manifest.features if feature.name == name)
    command = next_steps.to_prepare(manifest.dataset, dataset.parent)
    again = f"`{command} --force`" if command else "`wukongctl prepare` with `--force`"
    return f"{_scaled(feature, read[name])} in the recipe of dataset `{manifest.dataset}`, then run {again}"


def _scaled(feature: Feature, largest: float) -> str:
    if feature.std is None:
        return f"`{feature.name}` is not scaled and reaches {largest:.2g}: set `standardize: true` for it"
    return (
        f"`{feature.name}` reaches {largest:.2g} standard deviations: set `encoding: bins` or "
        "`transform: log1p` for it"
    )


def _largest(manifest: Manifest, name: str) -> float:
    """The largest magnitude of a feature in train, as models read it."""
    known = manifest.statistics.features.get(name) if manifest.statistics is not None else None
    ends = (known.minimum, known.maximum) if known is not None else ()
    return max((abs(end) for end in ends if end is not None), default=0.0)
