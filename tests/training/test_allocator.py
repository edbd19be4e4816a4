"""Memory that is freed must stay with the process, for the next step to use."""

import platform
import subprocess
import sys

import pytest

MEGABYTES_LEFT = """
import torch
from wukongctl.training.allocator import keep_freed_memory

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 >> 20

def left():
    before = resident()
    tensors = [torch.ones(2 << 20) for _ in range(20)]
    assert resident() - before >= 150
    tensors.clear()
    return resident() - before

given_back = left()
keep_freed_memory()
print(given_back, left())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of glibc")
def test_freed_memory_is_reused() -> None:
    printed = subprocess.check_output([sys.executable, "-c", MEGABYTES_LEFT], text=True)
    given_back, kept = map(int, printed.split())
    assert given_back < 60
    assert kept > 120
