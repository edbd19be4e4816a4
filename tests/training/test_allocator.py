"""Memory that is freed must stay with the process, for the next step to use."""

import platform
import subprocess
import sys

import pytest

MEGABYTES_LEFT = """
import sys
import torch
from wukongctl.training.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 >> 20

before = resident()
tensors = [torch.ones(2 << 20) for _ in range(20)]
assert resident() - before >= 150
tensors.clear()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of glibc")
def test_freed_memory_is_reused() -> None:
    left = {
        mode: int(subprocess.check_output([sys.executable, "-c", MEGABYTES_LEFT, mode]))
        for mode in ("given back", "kept")
    }
    assert left["given back"] < 60
    assert left["kept"] > 120
