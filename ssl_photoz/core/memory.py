"""How memory that is freed is used again."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
LARGEST_KEPT_BYTES = 1 << 30
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the allocator to keep what is freed for whoever asks next.

    By default glibc gives back every block above 32 MiB at once, and the kernel clears it page by
    page when it is asked for again. A step of training or embedding asks for the same blocks as the
    one before. The price: the process stays at its greatest size until it ends.

    Returns:
        Whether it could be told: not where the C library is another than glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError, OSError):  # macOS, musl; Windows
        return False
    # Before 2.35 glibc refuses a threshold above 32 MiB, but not to do without such blocks.
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) or mallopt(M_MMAP_MAX, 0)
    return bool(kept and mallopt(M_TRIM_THRESHOLD, NEVER))
