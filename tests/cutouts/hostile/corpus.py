"""Ways to break a file, or a folder of files, that was whole."""

import shutil

import numpy as np

PARTS = 64


def files_of(data):
    return sorted(path for path in data.rglob("*") if path.is_file()) if data.is_dir() else [data]


def copy(data, folder):
    """Copy a file or folder; return the copy."""
    target = folder / data.name
    if data.is_dir():
        shutil.copytree(data, target)
    else:
        shutil.copyfile(data, target)
    return target


def truncated(data, folder, part):
    """Cut the longest file off after ``part`` of 64 of its bytes."""
    target = copy(data, folder)
    longest = max(files_of(target), key=lambda path: path.stat().st_size)
    with longest.open("r+b") as file:
        file.truncate(longest.stat().st_size * part // PARTS)
    return target


def flipped(data, folder, seed, *, within=4096):
    """Flip a few bits: half of them near the beginning, where formats keep their structure."""
    target = copy(data, folder)
    draws = np.random.default_rng(seed)
    files = files_of(target)
    chosen = files[draws.integers(len(files))]
    content = bytearray(chosen.read_bytes())
    if content:
        reach = min(within, len(content)) if seed % 2 else len(content)
        for at in draws.integers(0, reach, size=1 + seed % 4):
            content[at] ^= 1 << int(draws.integers(8))
        chosen.write_bytes(content)
    return target
