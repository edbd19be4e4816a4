"""How many values each dense weight sums over: what learning rates must follow when a model grows."""

from collections.abc import Iterator

from torch import Tensor, nn

from wukongctl.models.finalmlp import Fusion, Gate
from wukongctl.models.masknet import FieldNorm
from wukongctl.models.model import Model
from wukongctl.models.numbers import NumericEmbedding, PiecewiseEmbedding
from wukongctl.models.tokens import TokenLinear
from wukongctl.models.unimixer import UniMixing

VECTORS = (NumericEmbedding, PiecewiseEmbedding, FieldNorm, Gate)
"""Modules whose weights are vectors side by side: a value is multiplied by one of them, or by none."""


def fan_ins(model: Model) -> dict[str, int]:
    """Name of each dense matrix → its fan-in, the number of products in one sum over it.

    Biases, norms and vectors of numeric features sum nothing and are left out. Works on the meta device.
    """
    return dict(_fan_ins(model))


def _fan_ins(model: Model) -> Iterator[tuple[str, int]]:
    for prefix, module in model.named_modules():
        if isinstance(module, (nn.Embedding, *VECTORS)):
            continue
        for name, weight in module.named_parameters(recurse=False):
            if weight.dim() > 1 and name != "bias":  # that of a token linear layer has a row per token
                yield f"{prefix}.{name}" if prefix else name, _fan_in(module, name, weight)


def _fan_in(module: nn.Module, name: str, weight: Tensor) -> int:
    match module:
        case Fusion():  # x_i W_ij y_j, summed over both
            return weight[0].numel()
        case TokenLinear():
            return weight.shape[1]
        case UniMixing() if name in ("right", "basis"):  # the second factors of products of weights
            return weight.shape[0]
        case _:
            return weight.shape[-1]
