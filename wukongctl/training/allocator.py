"""Keep freed memory for the next step, in huge pages.

A step allocates and frees the same hundred tensors of a few megabytes. By default the C library returns them
to the kernel, which maps and zeroes them again page by page: a tenth of the time of a step.
"""

import ctypes
import os

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_INT = 2**31 - 1
LARGEST_MMAP_THRESHOLD = 32 << 20
"""The limit of the C library; larger tensors are still mapped one by one, in huge pages."""
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Makes torch ask for huge pages; read at its first allocation."""


def keep_freed_memory() -> None:
    """For the rest of this process, with glibc only. Does not override the user's settings."""
    os.environ.setdefault(HUGE_PAGES, "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
