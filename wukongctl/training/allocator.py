"""Memory that a step frees is kept for the next one, in large pages.

A step allocates and frees the same hundred tensors of some megabytes. The C library would give them back to
the kernel and fetch them again, page by page and each page zeroed: a tenth of the time of a step.
"""

import ctypes
import os

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_INT = 2**31 - 1
LARGEST_MMAP_THRESHOLD = 32 << 20
"""What the C library accepts; larger tensors are still mapped one by one, in large pages."""
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch then asks for large pages; it reads the variable when it first allocates."""


def keep_freed_memory() -> None:
    """For the rest of this process. Nothing where the C library is not glibc; what users set is left."""
    os.environ.setdefault(LARGE_PAGES, "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
