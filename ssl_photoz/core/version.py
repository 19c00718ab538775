"""The version of this package and of those beside it; cards, pages and requests state them."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

__version__ = "0.1.0"

# Those whose version can change a number.
LIBRARIES = (
    *("torch", "lightly", "pytorch-lightning", "timm", "numpy", "scikit-learn", "umap-learn"),
    *("faiss-gpu", "faiss-gpu-cu12", "faiss-cpu", "h5py", "pyarrow", "astropy", "galsim"),
)
GIT_SECONDS = 10


@cache
def versions() -> dict[str, str]:
    """Versions of the installed libraries, none of which is imported."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_revision(package: Path = Path(__file__).parent) -> str | None:
    """Commit that a package runs from, with ``-dirty`` behind if tracked files differ.

    None where it does not run from a git checkout of its own, or there is no git.

    Args:
        package: Folder of the package.
    """
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    if tracked is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
