"""What a format gives: stored cutouts, and files that stay open in one process only."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.schema import Source


class Stored(Protocol):
    """Cutouts as some format stores them; can be pickled, and survives a fork.

    Attributes:
        source: What is known of them. `registry.open_stored` adds the format's name to it.
        columns: Canonical names of the columns that are stored, ``id``, ``ra``, ``dec`` and ``z``
            only where they are.
        left_out: Names of what the file holds that is no column.
        attributes: What else the file states of itself, to be handed on to copies.
    """

    source: Source
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    attributes: dict[str, Any]

    def column(self, name: str) -> Array:
        """Read a column, shape (N,) or (N, M), in the byte order of this machine.

        Integers stay integers of their width, text becomes ``str``.
        """
        ...

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows, in the order asked for, into an array.

        Args:
            rows: Row numbers within the file; they may repeat. Shape (B,).
            pixels: Array to fill, of the source's dtype, shape (B, C, crop, crop).
            crop: Slice of both axes of a cutout.

        Raises:
            OSError: If the file is damaged; `Cutouts` says so to the user.
        """
        ...

    def close(self) -> None:
        """Close what is open; the next read opens it again."""
        ...


@runtime_checkable
class KnowsFaults(Protocol):
    """Stored cutouts whose source says, or whose reading shows, that some are useless."""

    def faults(self, rows: Ints) -> dict[int, str]:
        """Say what is wrong with those of the rows that are known to be bad.

        Args:
            rows: Row numbers that have been read, shape (B,).
        """
        ...


class Wrapped:
    """Stored cutouts that hand everything on to others; see `Stored`.

    Whatever changes rows, bands or pixels on their way to the reader derives from it.

    Args:
        stored: The others.

    Attributes:
        is_subset: Whether they are some of the rows of what ``source.path`` names.
        digest: What tells these rows from others; empty for all of them.
    """

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self.source = stored.source
        self.is_subset = bool(getattr(stored, "is_subset", False))
        self.digest = str(getattr(stored, "digest", ""))
        self.columns, self.left_out = stored.columns, stored.left_out
        self.attributes = stored.attributes

    def column(self, name: str) -> Array:
        """Column of all rows."""
        return self._stored.column(name)

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array."""
        self._stored.read(rows, pixels, crop)

    def faults(self, rows: Ints) -> dict[int, str]:
        """Reasons why some of the rows are useless."""
        return self._stored.faults(rows) if isinstance(self._stored, KnowsFaults) else {}

    def close(self) -> None:
        """Close what is underneath."""
        self._stored.close()


class Closes(Protocol):
    """Anything that is open."""

    def close(self) -> None:
        """Close it."""
        ...


Handle = TypeVar("Handle", bound=Closes)


class PerProcess(Generic[Handle]):
    """Something open, opened again in every process; handles of HDF5 do not survive a fork.

    Args:
        open_one: Opens it; can be pickled.
    """

    def __init__(self, open_one: Callable[[], Handle]) -> None:
        self._open_one = open_one
        self._handle: tuple[int, Handle] | None = None

    def get(self) -> Handle:
        """What is open, opened by this process."""
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = (os.getpid(), self._open_one())
        return self._handle[1]

    def close(self) -> None:
        """Close it, if this process opened it."""
        if self._handle is not None and self._handle[0] == os.getpid():
            self._handle[1].close()
        self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}
