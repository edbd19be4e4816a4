"""What would make a plan fit: other recipe keys, a smaller batch, more GPUs."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from wukongctl.config.training import TrainingSpec
from wukongctl.cost.cluster import ClusterPlan
from wukongctl.errors import UsageError

MOST_GPUS = 16384
Keys = tuple[str, ...]
CHOICES = (
    (None, "distributed.embeddings=table_wise", "distributed.embeddings=row_wise"),
    (None, "distributed.dense=fsdp"),
    (None, "precision=bfloat16"),
    (None, "embedding_dtype=bfloat16"),
)
"""Overrides that may save memory, one or none of each."""


@dataclass(frozen=True)
class Remedy:
    """What to append to the command, ready to type, and the bytes per GPU with it."""

    change: str
    total: int

    def to_dict(self) -> dict[str, Any]:
        """One entry of `fits_with`."""
        return {"change": self.change, "total": self.total}


def remedies(plan: ClusterPlan) -> list[Remedy]:
    """Minimal sets of keys, the largest batch and the fewest GPUs that fit; empty for a plan that fits.

    If keys are not enough, they are combined with a smaller batch and with more GPUs.
    """
    if plan.fits:
        return []
    choices = sorted(_choices(), key=len)
    fitting = {keys: other for keys in choices if (other := _changed(plan, keys, plan.gpus)) and other.fits}
    found = [
        _remedy(keys, "", other)
        for keys, other in fitting.items()
        if not any(set(fewer) < set(keys) for fewer in fitting)
    ]
    tried = [()] if found else choices
    return [*found, *_with_batch(plan, tried), *_with_gpus(plan, tried)]


def host_memory(plan: ClusterPlan) -> int | None:
    """Bytes of tables per GPU that the host would have to hold; None where it fits, or that is not enough."""
    over = plan.memory.total - plan.usable
    return over if 0 < over <= plan.memory.tables + plan.memory.table_optimizer else None


def _choices() -> Iterator[Keys]:
    for chosen in itertools.product(*CHOICES):
        yield tuple(key for key in chosen if key is not None)


def _with_batch(plan: ClusterPlan, choices: Sequence[Keys]) -> list[Remedy]:
    """The largest of the batch's halves that fits."""
    sizes = itertools.takewhile(lambda size: size >= plan.gpus, _halves(plan.recipe.batch_size))
    for size, keys in itertools.product(sizes, choices):
        changed = _changed(plan, (*keys, f"batch_size={size}"), plan.gpus)
        if changed is not None and changed.fits:
            return [_remedy((*keys, f"batch_size={size}"), "", changed)]
    return []


def _with_gpus(plan: ClusterPlan, choices: Sequence[Keys]) -> list[Remedy]:
    """The smallest of the doubled numbers of GPUs that fits."""
    most = min(MOST_GPUS, plan.recipe.batch_size)
    counts = itertools.takewhile(lambda gpus: gpus <= most, (plan.gpus << n for n in itertools.count(1)))
    for gpus, keys in itertools.product(counts, choices):
        changed = _changed(plan, keys, gpus)
        if changed is not None and changed.fits:
            return [_remedy(keys, f"--gpus {gpus}", changed)]
    return []


def _halves(size: int) -> Iterator[int]:
    while (size := size // 2) > 0:
        yield size


def _remedy(keys: Keys, more: str, plan: ClusterPlan) -> Remedy:
    words = [*(f"--set {key}" for key in keys), *([more] if more else [])]
    return Remedy(" ".join(words), plan.memory.total)


def _changed(plan: ClusterPlan, overrides: Keys, gpus: int) -> ClusterPlan | None:
    """The plan with other keys; None for what the recipe's format or the hardware does not allow."""
    content = plan.recipe.to_dict()
    for override in overrides:
        path, _, value = override.partition("=")
        *sections, key = path.split(".")
        section = content
        for name in sections:
            section = section[name]
        section[key] = int(value) if value.isdigit() else value
    try:
        changed = ClusterPlan(TrainingSpec.from_dict(content), plan.traced, plan.gpu, gpus)
        changed.placement  # noqa: B018 not every table can be placed
    except (ValidationError, UsageError):
        return None
    return changed
