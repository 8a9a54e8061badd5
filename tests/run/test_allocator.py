"""With fixed bounds, what is freed is gone, however often blocks of its size came and went."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from pathlib import Path
from longwang_ray.run.allocator import settle
if sys.argv[1] == "settled":
    assert settle()
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def taken(size):
    block = library.malloc(size)
    ctypes.memset(block, 1, size)
    return block

def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024

library.free(taken(30 << 20))  # glibc learns that such blocks come and go
before = resident()
field = taken(29 << 20)
small = taken(1 << 20)  # on top of it in the heap
library.free(field)
print(resident() - before)
"""


def held(how):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_freed_field_leaves_no_hole():
    assert held("settled") <= 3
    assert held("as it is") >= 29, "glibc needs no help any more"
