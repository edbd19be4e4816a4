"""Execution settings of a recipe on this machine: device, threads, precision, compilation."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache

import torch

from wukongctl.config.training import Precision, TrainingSpec
from wukongctl.errors import UsageError
from wukongctl.machine import cgroup_cpus, most_workers
from wukongctl.training.allocator import keep_freed_memory

# Read before anyone changes it: OMP_NUM_THREADS if set, else one per physical core of this process.
_TORCH_THREADS = torch.get_num_threads()
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Execution:
    """Execution settings of a run. `notes` list what the recipe asks for and this machine lacks."""

    threads: int
    precision: Precision
    compile: bool
    notes: tuple[str, ...] = ()
    device: torch.device = CPU
    cuda_graph: bool = False

    @property
    def autocast(self) -> torch.autocast:
        """Context with matrix products in bfloat16, if that is the precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def apply(self) -> None:
        """Set the process's threads, how it multiplies float32 on a GPU, and how it keeps memory."""
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
        keep_freed_memory()


def execution(recipe: TrainingSpec, *, processes: int = 1) -> Execution:
    """The recipe's settings, as far as this machine supports them; raises UsageError for a missing GPU."""
    notes = []
    device = chosen_device(recipe, processes)
    precision, compiled = recipe.precision, recipe.compile
    has_it = {"bfloat16": has_bfloat16, "tf32": has_tf32}.get(precision)
    if has_it is not None and not has_it(device):
        kind = "CPU" if device == CPU else "GPU"
        notes.append(f"this {kind} has no {precision} instructions: `precision` falls back to float32")
        precision = "float32"
    if processes > 1 and recipe.device == "auto" and device == CPU:
        notes.append(f"torch finds no GPU: {processes} processes train on CPU")
    if compiled and not has_compiler():
        notes.append("no working C++ compiler (`CXX`, g++, clang++): `compile` falls back to false")
        compiled = False
    graph = recipe.cuda_graph and device.type == "cuda"
    if recipe.cuda_graph and not graph:
        notes.append("`cuda_graph` has no effect on a CPU")
    if recipe.data_on == "device" and device == CPU:
        notes.append("`data_on: device` has no effect on a CPU")
    threads = recipe.threads or usable_threads()
    if threads > most_workers():
        notes.append(f"`threads: {threads}` is too many for this machine: {most_workers()} are used")
        threads = most_workers()
    return Execution(threads, precision, compiled, tuple(notes), device, graph)


def chosen_device(recipe: TrainingSpec, processes: int) -> torch.device:
    """The device that a recipe trains on; raises UsageError if it is not available.

    Of several processes on a machine, each takes the GPU of its number there; with more processes than GPUs,
    some share one.
    """
    found = torch.cuda.is_available()
    if recipe.device == "cuda" and not found:
        raise UsageError(
            "`device: cuda` needs a GPU, and torch finds none",
            hint="add `--set device=cpu`, or install a CUDA build of torch",
        )
    if not (found and recipe.is_network) or recipe.device == "cpu":
        return CPU
    if processes == 1:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def usable_threads() -> int:
    """Torch's default, but at most the CPUs that the container may use."""
    return max(1, min(_TORCH_THREADS, cgroup_cpus() or _TORCH_THREADS))


def has_bfloat16(device: torch.device = CPU) -> bool:
    """Whether the device multiplies bfloat16 natively; emulation is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def has_tf32(device: torch.device) -> bool:
    """Whether the device multiplies float32 with TensorFloat-32: NVIDIA's since compute capability 8.0."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def name_of(device: torch.device) -> str:
    """As its maker calls a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def has_compiler() -> bool:
    """Whether torch.compile would find a C++ compiler with the standard headers."""
    chosen = os.environ.get("CXX")
    return any(_compiles(name) for name in ([chosen] if chosen else ["g++", "clang++"]))


def _compiles(compiler: str) -> bool:
    """Checked before training: a failure in the first step would end the run."""
    if shutil.which(compiler) is None:
        return False
    command = [compiler, "-fsyntax-only", "-x", "c++", "-"]
    ended = subprocess.run(command, check=False, input=b"#include <cmath>", capture_output=True)
    return ended.returncode == 0


def random_state(device: torch.device) -> torch.Tensor:
    """State of the generator that a run on `device` draws from."""
    return torch.get_rng_state() if device == CPU else torch.get_device_module(device).get_rng_state(device)


def set_random_state(device: torch.device, state: torch.Tensor) -> None:
    """The inverse of `random_state`."""
    if device == CPU:
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was asked for."""
    if device != CPU:
        torch.get_device_module(device).synchronize(device)


class Stopwatch:
    """Wall and CPU time since its creation."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Wall time."""
        return time.perf_counter() - self._started[0]

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all threads of this process."""
        return time.process_time() - self._started[1]


def utilization(flops_per_second: float, execution: Execution) -> dict[str, float]:
    """MFU: matrix-product FLOP/s of a run over the peak measured here, for its precision and threads."""
    peak = matmul_peak(execution.precision, execution.threads, device=execution.device)
    return {
        "mfu": flops_per_second / peak,
        "gflops_per_second": flops_per_second / 1e9,
        "peak_gflops_per_second": peak / 1e9,
    }


@lru_cache
def matmul_peak(
    precision: Precision, threads: int, *, cpu_time: bool = False, device: torch.device = CPU
) -> float:
    """FLOP per second of the fastest of some square matrix products; takes a fraction of a second.

    With `cpu_time`, per CPU-second, which other processes do not affect.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        sizes = (1024, 1536) if device == CPU else (4096, 8192)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        return max(_matmul_rate(size, dtype, device, cpu_time=cpu_time) for size in sizes)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _matmul_rate(size: int, dtype: torch.dtype, device: torch.device, *, cpu_time: bool) -> float:
    # Random: on a GPU constant operands take less power, and run faster than any training does.
    left = torch.randn(size, size, dtype=dtype, device=device)
    out = torch.empty_like(left)
    times = []
    for _ in range(8):
        watch = Stopwatch()
        torch.matmul(left, left, out=out)
        synchronize(device)
        times.append(watch.cpu_seconds if cpu_time else watch.seconds)
    return 2 * size**3 / min(times[1:])
