"""What this machine and this installation offer, for `doctor`."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import wukongctl
from wukongctl import extras
from wukongctl.config import plugins
from wukongctl.data.acquire import cache
from wukongctl.errors import UsageError
from wukongctl.machine import cgroup_cpus, cores
from wukongctl.training import hardware

PACKAGES = ("torch", "duckdb", "pyarrow", "numpy", "scipy", "matplotlib", "pydantic", "click", "rich")
EXTRAS = {
    "tune": "optuna", "gbdt": "lightgbm", "onnx": "onnxscript", "tensorboard": "tensorboard",
    "mlflow": "mlflow", "ray": "ray", "distributed": "torchrec",
}  # fmt: skip
"""Extra → the module that shows whether it is installed."""
CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
COPIED_BYTES = 1 << 28


def diagnose(folder: Path) -> dict[str, Any]:
    """Versions, processor, memory, disk of `folder`, GPUs, extras, and two speeds, measured in a second."""
    return {
        "versions": versions(),
        "platform": {"system": platform.platform(), "machine": platform.machine(), "processor": _processor()},
        "torch": {
            "build": "cuda " + torch.version.cuda if torch.version.cuda else "cpu",
            "compiler": hardware.has_compiler(),
        },
        "cores": {"usable": cores(), "machine": os.cpu_count(), "container": cgroup_cpus()},
        "memory": memory(),
        "disk": {"folder": str(folder.resolve()), "free": shutil.disk_usage(_existing(folder)).free},
        "cache": {"folder": str(cache.root()), "bytes": _size(cache.root())},
        "gpus": gpus(),
        "precisions": precisions(),
        "speed": speed(),
        "extras": {name: extras.is_installed(module) for name, module in EXTRAS.items()},
        "models": plugin_models(),
    }


def plugin_models() -> dict[str, str]:
    """Models of other packages: name → package and version, or why it does not work."""
    found = {}
    for name, model in plugins.models().items():
        try:
            model.section()
            found[name] = f"{model.package} {model.version}"
        except UsageError as error:
            found[name] = error.message
    return found


def versions() -> dict[str, str | None]:
    """Of this package, Python, and what it works with; None for a package that is missing."""
    found: dict[str, str | None] = {"wukongctl": wukongctl.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def memory() -> dict[str, int | None]:
    """Bytes of the machine, and the limit of its container; None where unknown or unlimited."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX
        total = None
    try:
        limit = int(CGROUP_MEMORY.read_text())
    except (OSError, ValueError):  # not Linux, cgroup v1, or `max`
        limit = None
    return {"total": total, "container": limit}


def gpus() -> list[dict[str, Any]]:
    """Name, memory and compute capability of each GPU that torch finds."""
    found = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        capability = f"{properties.major}.{properties.minor}"
        found.append({"name": properties.name, "memory": properties.total_memory, "capability": capability})
    return found


def precisions() -> list[str]:
    """The values of `precision` that this machine computes natively."""
    device = torch.device("cuda") if torch.cuda.is_available() else hardware.CPU
    native = {"float32": True, "tf32": hardware.has_tf32(device), "bfloat16": hardware.has_bfloat16(device)}
    return [name for name, has_it in native.items() if has_it]


def speed() -> dict[str, float]:
    """Peak of float32 matrix products in GFLOP/s, and bytes copied within memory per second, of all cores."""
    device = torch.device("cuda") if torch.cuda.is_available() else hardware.CPU
    peak = hardware.matmul_peak("float32", hardware.usable_threads(), device=device)
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target, times = torch.empty_like(source), []
    for _ in range(4):
        watch = hardware.Stopwatch()
        target.copy_(source)
        hardware.synchronize(device)
        times.append(watch.seconds)
    return {"matmul_gflops_per_second": peak / 1e9, "copy_bytes_per_second": COPIED_BYTES / min(times)}


def _processor() -> str:
    """As its maker calls it; `platform` does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
