"""Zarr, version 2 or 3: a group with ``images`` and columns, like the challenge's HDF5.

Its root attributes are those of the challenge's layout too: ``bands``, ``pixscale_arcsec``,
``calibrated``, ``simulated``. Only codecs that make numbers or text of bytes are let through: one
of Zarr's unpickles what a stranger wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core import extras
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.hdf5 import CANONICAL, MOST_COMPRESSION, UNITS, require_same_column
from ssl_photoz.cutouts.formats.ids import as_column, lost_digits, no_numbers
from ssl_photoz.cutouts.formats.stored import PerProcess, Stored
from ssl_photoz.cutouts.schema import (
    PER_BAND,
    Overrides,
    Source,
    describe,
    parse_bands,
    require_degrees,
    require_images,
    stated_truth,
)

MARKS = ("zarr.json", ".zgroup", ".zmetadata")
CODECS = {
    *("blosc", "bytes", "crc32c", "delta", "gzip", "lz4", "null", "sharding_indexed", "shuffle"),
    *("transpose", "vlen-bytes", "vlen-utf8", "zlib", "zstd"),
}
MOST_CHUNK_BYTES = 1 << 28
MOST_NAMES = 1000
NUMBERS = ("ra", "dec", "z", "ebv")


def recognise(path: Path) -> str | None:
    """Recognise a folder that is a Zarr group with `images`."""
    mark = next((mark for mark in MARKS if (path / mark).is_file()), None)
    if mark is None or not (path / "images").is_dir():
        return None
    return f"Zarr group with `images` ({mark})"


def open_stored(path: Path, overrides: Overrides) -> Stored:
    """Open a group.

    Raises:
        DataError: If zarr is not installed, or the group cannot be used; the message says why.
    """
    extras.require("zarr", "reading Zarr")
    try:
        group = _open(path)
        arrays = {name: group[name] for name in _names(group)}
        attributes = {
            str(name): value
            for name, value in group.attrs.items()
            if isinstance(value, str | int | float | list)
        }
    except DataError:
        raise
    except Exception as error:  # damaged metadata makes zarr raise whatever comes
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{path} is a damaged Zarr group ({detail}); copy it again") from None
    images = arrays.pop("images", None)
    if images is None:
        raise DataError(f"{path} has no array `images`; it has {', '.join(arrays)}")
    for name, array in {"images": images, **arrays}.items():
        _require_harmless(path, name, array)
    _require_behind(path, {"images": images, **arrays})
    require_images(path, images.shape, images.dtype, "images")
    _state_bands(arrays, images.shape[1], attributes)
    columns, left_out = _find_columns(path, arrays, images.shape[0], images.shape[1])
    source = _describe(path, images, attributes, overrides)
    return ZarrCutouts(source, columns, left_out=left_out, attributes=attributes)


def _state_bands(arrays: dict[str, Any], n_bands: int, attributes: dict[str, Any]) -> None:
    """Take an array of the bands' names for the attribute, where there is none."""
    name = next((name for name in arrays if name.lower() == "bands"), None)
    if name is None or arrays[name].shape not in ((), (1,), (n_bands,)):
        return
    values = np.asarray(arrays[name][...])
    if values.dtype.kind in "SUOT" and not any(key.lower() == "bands" for key in attributes):
        attributes["bands"] = _text(np.ravel(values)).tolist()
        del arrays[name]


class ZarrCutouts:
    """Stored cutouts of a Zarr group; see `stored.Stored`.

    Args:
        source: What is known of them.
        names: The array of each column, by canonical name.
        left_out: Arrays that are no columns.
        attributes: Root attributes.
    """

    def __init__(
        self,
        source: Source,
        names: dict[str, str],
        *,
        left_out: tuple[str, ...],
        attributes: dict[str, Any],
    ) -> None:
        self.source, self.columns = source, tuple(names)
        self.left_out = left_out
        self.attributes: dict[str, Any] = attributes
        self._names = names
        self._opened = PerProcess(partial(_Opened, source.path))

    def column(self, name: str) -> Array:
        """Read a column."""
        values = np.asarray(self._opened.get().group[self._names[name]][...])
        if values.dtype.kind in "OTS":
            return as_column(name, _text(values))
        return as_column(name, values.astype(values.dtype.newbyteorder("=")))

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array."""
        if not len(rows):
            return
        wanted, places = np.unique(rows, return_inverse=True)
        try:
            found = self._opened.get().images.oindex[wanted, :, crop, crop]
        except Exception as error:  # each codec raises its own
            raise OSError(f"`images`: {type(error).__name__}: {error}") from None
        np.copyto(pixels, np.asarray(found)[places])

    def close(self) -> None:
        """Forget the group; nothing else is open."""
        self._opened.close()


class _Opened:
    def __init__(self, path: Path) -> None:
        self.group = _open(path)
        self.images = self.group["images"]

    def close(self) -> None:
        self.group.store.close()


def _open(path: Path) -> Any:  # noqa: ANN401 - a zarr group
    import zarr

    return zarr.open_group(zarr.storage.LocalStore(path, read_only=True), mode="r")


def _names(group: Any) -> list[str]:  # noqa: ANN401 - a zarr group
    names = sorted(group.array_keys())
    if len(names) > MOST_NAMES:
        raise DataError(f"a Zarr group of {len(names)} arrays, expected at most {MOST_NAMES}")
    return names


def _require_harmless(path: Path, name: str, array: Any) -> None:  # noqa: ANN401 - a zarr array
    """Refuse codecs that may run code, and chunks that fill memory."""
    about = array.metadata.to_dict()
    strange = sorted(
        set(_codecs([about.get(key) for key in ("codecs", "filters", "compressor")])) - CODECS
    )
    if strange:
        raise DataError(
            f"{path}: `{name}` is encoded with {', '.join(strange)}, expected only "
            f"{', '.join(sorted(CODECS))}; store it again"
        )
    chunk_bytes = int(np.prod([int(side) for side in array.chunks])) * array.dtype.itemsize
    if chunk_bytes > MOST_CHUNK_BYTES:
        raise DataError(
            f"{path}: `{name}` has chunks of {chunk_bytes} bytes, expected at most "
            f"{MOST_CHUNK_BYTES}; store it in smaller chunks"
        )


def _require_behind(path: Path, arrays: dict[str, Any]) -> None:
    """Refuse sizes with nothing behind them.

    An array alone may have nothing: chunks that are all fill value have no file. Of a whole group,
    which has pixels, that is no more than compression does; see `hdf5`.
    """
    sizes = {name: array.size * array.dtype.itemsize for name, array in arrays.items()}
    name, claimed = max(sizes.items(), key=lambda one: one[1])
    stored = 0
    for file in path.rglob("*"):
        stored += file.stat().st_size
        if stored * MOST_COMPRESSION >= claimed:
            return
    raise DataError(
        f"{path}: `{name}` claims {claimed} bytes, all files of the group have {stored}; it is "
        f"damaged, or made to fill memory"
    )


def _codecs(entry: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield the names of all codecs in metadata, also of those within others."""
    if isinstance(entry, list | tuple):
        for one in entry:
            yield from _codecs(one)
    elif isinstance(entry, dict):
        yield str(entry.get("id") or entry.get("name")).removeprefix("numcodecs.")
        within = entry.get("configuration") or {}
        yield from _codecs([within.get("codecs"), within.get("index_codecs")])
    elif entry is not None:
        yield from _codecs(entry.get_config())


def _find_columns(
    path: Path, arrays: dict[str, Any], rows: int, n_bands: int
) -> tuple[dict[str, str], tuple[str, ...]]:
    found: dict[str, str] = {}
    left_out = []
    for name, array in arrays.items():
        column = CANONICAL.get(name.lower(), name.lower())
        if array.ndim not in (1, 2) or array.dtype.kind not in "biufSUOT":
            left_out.append(name)
            continue
        if array.shape[0] != rows or (column in PER_BAND and array.shape != (rows, n_bands)):
            raise DataError(
                f"{path}: `{name}` has shape {array.shape}, `images` {rows} rows of {n_bands} bands"
            )
        if column in found:
            first = found[column]
            require_same_column(path, column, (first, arrays[first]), (name, array))
            left_out.append(name)
            continue
        if column == "z" and array.ndim == 1 and array.dtype.kind in "SUOT":
            if said := no_numbers(name, _text(np.asarray(array[...]))):
                left_out.append(said)
        elif column in NUMBERS and not (array.ndim == 1 and array.dtype.kind in "iuf"):
            raise DataError(
                f"{path}: `{name}` is {array.dtype} {array.shape}, expected real numbers"
            )
        lost = lost_digits(np.asarray(array[...])) if column == "id" else ""
        if lost:
            left_out.append(f"{name} ({lost})")
            continue
        if column in ("ra", "dec"):
            for key in UNITS:
                require_degrees(path, name, array.attrs.get(key))
        found[column] = name
    return found, tuple(left_out)


def _describe(path: Path, images: Any, attributes: dict[str, Any], overrides: Overrides) -> Source:  # noqa: ANN401
    stated = {name.lower(): value for name, value in attributes.items()}
    scale = stated.get("pixscale_arcsec")
    return describe(
        path,
        overrides,
        shape=images.shape[:3],
        dtype=images.dtype.name,
        bands=parse_bands(stated["bands"]) if "bands" in stated else None,
        pixscale_arcsec=None if scale is None else float(scale),
        calibrated=stated_truth(path, stated, "calibrated", default=images.dtype != np.uint8),
        simulated=stated_truth(path, stated, "simulated", default=False),
    )


def _text(values: Array) -> Array:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    return np.array([str(value) for value in values.ravel()], str).reshape(values.shape)
