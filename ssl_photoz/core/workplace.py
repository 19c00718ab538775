"""A folder that work is written to: whether it can be, and the lock that keeps others from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_photoz.core.errors import ArtefactError, ConfigError


def require_place(out: Path, *, folder: bool) -> None:
    """Refuse a place where nothing can be written; call it before the work.

    Args:
        out: What is to be written; nothing is made.
        folder: Whether it is to be a folder, or a file.

    Raises:
        ConfigError: If a file is where a folder is to be, or a folder where a file is to be, or if
            the folder around it cannot be written to.
    """
    if out.exists() and out.is_dir() != folder:
        found, wanted = ("a file", "a folder") if folder else ("a folder", "a file")
        raise ConfigError(f"out={out} is {found}, expected {wanted} to write; give another out=")
    place = out.absolute()
    above = next(p for p in ((place, *place.parents) if folder else place.parents) if p.exists())
    if not above.is_dir():
        raise ConfigError(f"out={out} lies below {above}, which is a file; give another out=")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(f"out={out}: no permission to write in {above}; give another out=")


@contextmanager
def claimed(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from working in a folder, which is made, whatever cards are written.

    Args:
        folder: The folder.
        shared: Whether other processes that share it may work there too: those of one run.

    Raises:
        ConfigError: If nothing can be written there.
        ArtefactError: If another process is at work in the folder.
    """
    require_place(folder, folder=True)
    claim(folder, shared=shared)
    key = folder.resolve()
    _KEPT.add(key)
    try:
        yield
    finally:
        _KEPT.discard(key)
        release(folder)


_CLAIMED: dict[Path, int] = {}
_KEPT: set[Path] = set()  # claimed beyond the card


def claim(folder: Path, *, shared: bool = False) -> None:
    """Lock a folder for this process; where its file system knows no locks, go without.

    Args:
        folder: The folder.
        shared: Whether others may lock it in the same way.

    Raises:
        ArtefactError: If another process is at work in the folder.
    """
    try:
        import fcntl
    except ImportError:
        return
    folder.mkdir(parents=True, exist_ok=True)
    key = folder.resolve()
    if key in _CLAIMED:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ArtefactError(
            f"another process is at work in {folder}; wait for it, or give another out="
        ) from None
    except OSError:
        os.close(handle)
        return
    _CLAIMED[key] = handle


def _leave_to_parent() -> None:
    """Let a forked worker not keep what its parent, if that is killed, no longer holds."""
    for handle in _CLAIMED.values():
        os.close(handle)
    _CLAIMED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def release(folder: Path) -> None:
    """Give up the lock of a folder, unless it is claimed beyond its card."""
    if folder.resolve() in _KEPT:
        return
    handle = _CLAIMED.pop(folder.resolve(), None)
    if handle is not None:
        os.close(handle)
