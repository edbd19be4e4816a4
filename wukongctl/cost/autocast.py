"""What autocast does on a GPU, imitated for tensors on the meta device, for which torch has none.

Products in bfloat16, sums and norms in float32, as torch documents for CUDA; the copy of a weight is made
once and kept.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from wukongctl.models.layers import products_on_meta

PRODUCTS = frozenset(
    {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum"}
)
FLOAT32 = frozenset(
    {"layer_norm", "norm", "exp", "expm1", "log", "log1p", "log2", "pow", "__pow__", "square", "rsqrt",
     "reciprocal", "softplus", "softmax", "log_softmax", "logsumexp", "prod", "cumsum", "cumprod", "sum",
     "binary_cross_entropy_with_logits"}
)  # fmt: skip


@contextmanager
def imitated_autocast(precision: str, copied: Callable[[Tensor], None]) -> Iterator[None]:
    """As `torch.autocast("cuda", torch.bfloat16)` on the meta device; nothing for another precision.

    `copied` is called with every copy of a weight.
    """
    if precision != "bfloat16":
        yield
        return
    with products_on_meta(torch.bfloat16), _Autocast(copied):
        yield


class _Autocast(TorchFunctionMode):
    def __init__(self, copied: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.copied = copied
        self.copies: dict[int, tuple[Tensor, Tensor]] = {}
        """By the weight's id; with the weight, so that the id stays its own."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, cast = getattr(func, "__name__", ""), None
        if name in FLOAT32 or (name == "linear" and len(args[1]) == 1):  # a logit is multiplied in float32
            cast = Tensor.float
        elif name in PRODUCTS:
            cast = self._lower
        if cast is None:
            return func(*args, **(kwargs or {}))
        return func(*tree_map_only(Tensor, cast, args), **tree_map_only(Tensor, cast, kwargs or {}))

    def _lower(self, tensor: Tensor) -> Tensor:
        if tensor.dtype != torch.float32:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad):
            return tensor.bfloat16()
        if id(tensor) not in self.copies:
            copy = tensor.bfloat16()
            self.copies[id(tensor)] = tensor, copy
            self.copied(copy)
        return self.copies[id(tensor)][1]
