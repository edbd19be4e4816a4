"""Counts of a model that is built on the meta device and not run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from wukongctl.config.model import AnyModelSpec
from wukongctl.data.schema import Schema
from wukongctl.models import build
from wukongctl.models.counts import Counts, count

INITIALIZERS = frozenset(
    {Tensor.normal_, Tensor.uniform_, Tensor.mul, Tensor.mul_, init.normal_, init.kaiming_uniform_}
)


class _WithoutValues(TorchFunctionMode):
    """Initial weights are neither drawn nor scaled: on the meta device that imports torch's compiler."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in INITIALIZERS:
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


def count_spec(model: AnyModelSpec, schema: Schema) -> Counts:
    """FLOPs by formula and parameters of a model for the columns of `schema`; raises as `build`."""
    with torch.device("meta"), _WithoutValues():
        return count(build(model, schema, sparse=False))
