import platform
import subprocess
import sys

import pytest

from ssl_photoz.core.memory import keep_freed_memory

COUNT = """
import resource, sys
import numpy as np
from ssl_photoz.core.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(6 << 20)
before = faults()
for _ in range(5):
    np.ones(6 << 20)
print(faults() - before)
"""


def faults(how):
    asked = [sys.executable, "-c", COUNT, how]
    return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_blocks_that_are_freed_are_used_again_without_asking_the_kernel():
    given_back, kept = faults("give back"), faults("keep")
    assert given_back > 50  # in pages of 4 KiB or 2 MiB
    assert kept < given_back / 10


@pytest.mark.skipif(platform.libc_ver()[0] == "glibc", reason="this is glibc")
def test_other_c_libraries_are_left_alone():
    assert not keep_freed_memory()
