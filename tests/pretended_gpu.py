"""A pretended GPU: tensors that say `gpu:0`, compute on the CPU, and refuse to mix with its tensors.

What goes wrong with the placement of tensors on a real GPU goes wrong here: an operator whose operands lie on
two devices fails. Every wait of the host for the device and every copy between the two is counted, with the
line of the package that caused it. The arithmetic is the CPU's own, so a run gives the bits of a CPU run.

It stands on a private API of torch (tried on 2.13); where that is missing, `AVAILABLE` is False. It must be
imported before the process's first backward pass. Not imitated: streams, races, rounding, memory.
"""

import collections
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

try:
    from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend
except ImportError:  # another torch
    AVAILABLE = False
else:
    AVAILABLE = True

NAME = "gpu"
CPU = torch.device("cpu")
needs_pretended_gpu = pytest.mark.skipif(not AVAILABLE, reason="this torch has no backends written in Python")

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default, aten._unique2.default, aten.bincount.default, aten.equal.default,
    aten.is_nonzero.default, aten.item.default, aten.masked_select.default, aten.nonzero.default,
    aten.repeat_interleave.Tensor, aten.unique_consecutive.default,
}  # fmt: skip
"""Operators whose result, or its shape, the host cannot know without the device."""
COPIES = {aten._to_copy.default, aten.copy_.default, aten._copy_from.default}
AUTOCAST_TO_BFLOAT16 = ("mm", "bmm", "matmul", "linear", "addmm", "baddbmm", "einsum")
"""As CUDA's autocast does, of what models here use."""

waits: collections.Counter[str] = collections.Counter()
"""Times the host waited, by `operator file:line`."""
copies: collections.Counter[str] = collections.Counter()
"""Tensors copied, by `to device file:line` or `to host file:line`."""


class Event:
    """A moment on the device, here of the host's clock."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end: "Event") -> float:
        return (end.at - self.at) * 1e3


if AVAILABLE:

    class _Module(_DummyBackendModule):
        """`torch.gpu`; random numbers come from the CPU's generator."""

        Event = Event
        get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
        get_rng_state = staticmethod(lambda _device=None: torch.get_rng_state())
        set_rng_state = staticmethod(lambda state, _device=None: torch.set_rng_state(state))

        reset_peak_memory_stats = staticmethod(lambda _device: None)
        max_memory_allocated = staticmethod(lambda _device: 1 << 20)

        def synchronize(self, _device: object = None) -> None:
            waits[f"synchronize {_line()}"] += 1

    _setup_privateuseone_for_python_backend(NAME, _Module())
    DEVICE = torch.device(NAME, 0)
    _FALLTHROUGH = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    _FALLTHROUGH.fallback(torch.library.fallthrough_kernel)
    _AUTOCAST = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")

    # Without a kernel of its own torch would compose this one of several, which round differently.
    _KERNELS = torch.library.Library("aten", "IMPL", "PrivateUse1")
    _KERNELS.impl("silu_backward", aten.silu_backward.default)


def _lowered(operator: Callable[..., Any]) -> Callable[..., Any]:
    """`operator` on bfloat16 in place of float32."""
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def lower(tensor: Tensor) -> Tensor:
        return tensor.to(torch.bfloat16) if tensor.dtype == torch.float32 else tensor

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(key):
            return operator(*tree_map_only(Tensor, lower, args), **kwargs)

    return kernel


for _name in AUTOCAST_TO_BFLOAT16 if AVAILABLE else ():
    _AUTOCAST.impl(_name, _lowered(getattr(aten, _name).default))


class OnGpu(Tensor):
    """A tensor on the pretended GPU; `inner`, on the CPU, holds its values."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnGpu":
        strided = inner.layout == torch.strided
        where = {"strides": inner.stride(), "storage_offset": inner.storage_offset()} if strided else {}
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, dtype=inner.dtype, layout=inner.layout, device=DEVICE, **where
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnGpu({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


def _dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on the CPU and put its results where a GPU would have put them."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    any_on_gpu = any(isinstance(tensor, OnGpu) for tensor in tensors)
    if any_on_gpu and func not in COPIES:
        _require_one_device(func, tensors)
    to_gpu = _lands_on_gpu(func, args, kwargs, any_on_gpu)
    _count(func, args, from_gpu=any_on_gpu, to_gpu=to_gpu)
    if "device" in kwargs:
        kwargs = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
        kwargs["device"] = CPU
    out = func(*tree_map_only(OnGpu, _inner, args), **tree_map_only(OnGpu, _inner, kwargs))
    if func in (aten._local_scalar_dense.default, aten.equal.default):
        return out
    if func is aten.copy_.default and not isinstance(args[0], OnGpu):
        return args[0]
    if not to_gpu:
        return out
    out = tree_map_only(Tensor, OnGpu, out)
    aliases = func._schema.is_mutable or any(result.alias_info for result in func._schema.returns)
    return return_and_correct_aliasing(func, args, kwargs, out) if aliases else out


def _inner(tensor: OnGpu) -> Tensor:
    return tensor.inner


def _lands_on_gpu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], any_on_gpu: bool) -> bool:
    if func is aten.copy_.default:
        return isinstance(args[0], OnGpu)
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"]).type == NAME
    return any_on_gpu


def _require_one_device(func: Any, tensors: list[Tensor]) -> None:
    """Numbers of the CPU, tensors without dimensions, are let through as CUDA does."""
    others = [
        t.device for t in tensors if not isinstance(t, OnGpu) and not (t.dim() == 0 and t.device == CPU)
    ]
    if others:
        raise RuntimeError(f"{func}: tensors on {NAME}:0 and {others[0]} at {_line()}")


def _count(func: Any, args: tuple[Any, ...], *, from_gpu: bool, to_gpu: bool) -> None:
    if func in WAITS and from_gpu:
        waits[f"{func.name()} {_line()}"] += 1
    if func not in COPIES:
        return
    source = args[1] if func is aten.copy_.default else args[0]
    if isinstance(source, OnGpu) and not to_gpu:
        copies[f"to host {_line()}"] += 1
    if to_gpu and not isinstance(source, OnGpu) and source.dim():
        copies[f"to device {_line()}"] += 1


def _line() -> str:
    """The line of the package that is running."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and "/wukongctl/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/wukongctl/')[2]}:{frame.f_lineno}" if frame else "?"


class _PretendedGpu(TorchDispatchMode):
    """While it is entered, `device="gpu"` is understood."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # `Tensor.to` and its like arrive undecomposed then
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        return _dispatch(func, args, kwargs)


@contextlib.contextmanager
def pretended() -> Iterator[torch.device]:
    """The device, with all counts at zero."""
    waits.clear()
    copies.clear()
    with _PretendedGpu():
        yield DEVICE
