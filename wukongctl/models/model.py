"""The interface of ranking models: a batch in, one logit per example out, and the cost."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wukongctl.models.embeddings import frozen_vectors
from wukongctl.models.layers import logit_weights


class Model(nn.Module, ABC):
    """Batch → (B,) logits, from its section of a recipe and a dataset's columns: `Wukong(spec, schema)`.

    `sparse` requests sparse gradients of the embedding table.
    """

    @abstractmethod
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of matrix products per example, by part; lookups count 0.

        A part has the dotted name of its module or parameter, or another name if there is none.
        """

    def counted_under(self) -> dict[str, str]:
        """Dotted names of modules and parameters → their part of `macs`, where it has another name."""
        return {}

    def last_weights(self) -> list[Tensor]:
        """The weights in which the logit is linear; pair sums such as FM's have none.

        As biases start at zero, scaling these weights scales the initial logits.
        """
        return logit_weights(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Model":
        """As of every module, but features that share frozen vectors share them on the new device too."""
        frozen = frozen_vectors(self)
        moved = {id(part.vectors): fn(part.vectors) for part in frozen}
        of = [moved[id(part.vectors)] for part in frozen]
        for part in frozen:
            part.vectors = torch.empty(0)
        super()._apply(fn, recurse)
        for part, vectors in zip(frozen, of, strict=True):
            part.vectors = vectors
        return self
