"""GPUs of this machine, and which run of a sweep gets which."""

import os
from collections import Counter
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> tuple[str, ...]:
    """What `CUDA_VISIBLE_DEVICES` calls the GPUs that this process may use: numbers or UUIDs."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get(VISIBLE)
    names = [str(number) for number in range(count)] if named is None else named.split(",")
    return tuple(name.strip() for name in names[:count])


class DevicePool:
    """Gives each run the GPU that the fewest other runs use, the first of several."""

    def __init__(self, gpus: tuple[str, ...]) -> None:
        self.gpus = gpus
        self._used: dict[Path, str] = {}

    def take(self, folder: Path) -> dict[str, str]:
        """Environment of a run that shows it one GPU; empty if there are none."""
        if not self.gpus:
            return {}
        runs = Counter(self._used.values())
        gpu = min(self.gpus, key=lambda name: runs[name])
        self._used[folder] = gpu
        return {VISIBLE: gpu}

    def free(self, folder: Path) -> None:
        """The run ended."""
        self._used.pop(folder, None)
