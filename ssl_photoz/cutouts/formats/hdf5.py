"""What an HDF5 file holds, and what of it can be pixels and columns.

Only what lies in the file itself is read: soft links are followed within it, links to other files
are not, and datasets whose values lie elsewhere are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array
from ssl_photoz.cutouts.formats.ids import lost_digits, no_numbers
from ssl_photoz.cutouts.schema import (
    PER_BAND,
    parse_bands,
    require_degrees,
    require_images,
    split_bands,
)

CANONICAL = {"targetid": "id"}
MOST_NAMES = 20_000
MOST_HOPS = 16
UNITS = ("unit", "units", "UNIT", "UNITS")
MOST_COMPRESSION = 2000  # deflate reaches 1032


class RootItem(NamedTuple):
    """What stands under a name at the root; shape and type are None for a group."""

    shape: tuple[int, ...] | None
    dtype: np.dtype[Any] | None


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        DataError: If it is not HDF5, or damaged.
    """
    if not path.is_file():
        raise DataError(f"no cutout file {path}")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not an HDF5 file; expected one with `images`, `RA`, `DEC`")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path} is a truncated or damaged HDF5 file ({error}); copy or download it again"
        ) from None


@contextmanager
def looking_into(path: Path) -> Iterator[h5py.File]:
    """Open a file to see what it holds; damage that shows meanwhile is reported as such.

    Raises:
        DataError: If the file is damaged.
    """
    with open_hdf5(path) as file:
        try:
            yield file
        except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
            raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> DataError:
    """Say that a file cannot be read."""
    detail = " ".join(str(error).split())
    return DataError(f"{path} cannot be read: damaged or truncated ({detail}); copy it again")


def root_items(path: Path) -> dict[str, RootItem]:
    """What an HDF5 file holds at its root; nothing if it is no HDF5 file."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return {}
    status = path.stat()
    return _root_items(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)  # each format asks in turn
def _root_items(path: Path, _changed: int, _size: int) -> dict[str, RootItem]:
    with h5py.File(path, "r") as file:
        own = own_items(file)
        return {name: RootItem(*_shape(item)) for name, item in own.items()}


def _shape(item: h5py.HLObject) -> tuple[tuple[int, ...] | None, np.dtype[Any] | None]:
    return (item.shape, item.dtype) if isinstance(item, h5py.Dataset) else (None, None)


def own_items(group: h5py.Group) -> dict[str, h5py.HLObject]:
    """Datasets and groups of the file itself, by name, also those that it links to within itself.

    Links that lead to another file or nowhere are passed over.

    Raises:
        OSError: If there are more names than any cutout file has.
    """
    if len(group) > MOST_NAMES:
        raise OSError(f"{len(group)} names in {group.name!r}, expected at most {MOST_NAMES}")
    found = {name: _own_item(group, name) for name in group}
    return {name: item for name, item in found.items() if item is not None}


def _own_item(group: h5py.Group, name: str, hops: int = 0) -> h5py.HLObject | None:
    """Item of the file itself under a name; None if a link on the way leads out, or nowhere."""
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.HardLink):
        return group[name]
    if not isinstance(link, h5py.SoftLink) or hops >= MOST_HOPS:
        return None
    place: h5py.HLObject = group.file if link.path.startswith("/") else group
    for part in link.path.split("/"):
        if part in ("", "."):
            continue
        if not isinstance(place, h5py.Group) or part not in place.keys():
            return None
        hops += 1
        found = _own_item(place, part, hops)
        if found is None:
            return None
        place = found
    return place


def require_inside(path: Path, dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose values lie in other files.

    Raises:
        DataError: If they do.
    """
    virtual = dataset.virtual_sources() if dataset.is_virtual else []
    outside = [part.file_name for part in virtual if part.file_name != "."]
    outside += [part[0] for part in dataset.external or []]
    if outside:
        raise DataError(
            f"{path} keeps `{_name(dataset)}` in another file ({outside[0]}), which is "
            f"not followed; name that file, or make one dataset of several (docs/formats.md)"
        )


class Examined(NamedTuple):
    """What a file of one dataset of pixels holds.

    Attributes:
        rows: Number of cutouts.
        bands: Number of bands.
        size_px: Side of a cutout, pixels.
        dtype: Type of the pixels.
        datasets: The dataset of each column, by canonical name.
        left_out: Names of what can be no column.
        attributes: Root attributes that are numbers or text.
    """

    rows: int
    bands: int
    size_px: int
    dtype: np.dtype[Any]
    datasets: dict[str, str]
    left_out: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cutouts, number of bands, and side in pixels."""
        return self.rows, self.bands, self.size_px


def examine(
    path: Path,
    group: h5py.Group,
    *,
    images: str = "images",
    channels_last: bool = False,
    canonical: Mapping[str, str] = CANONICAL,
    skip: Sequence[str] = (),
    needs_position: bool = True,
) -> Examined:
    """Check the pixels and columns of a file.

    Args:
        path: The file, for messages.
        group: The open file, or the group of it that holds them.
        images: The dataset of the pixels.
        channels_last: Whether it is (rows, side, side, bands).
        canonical: Canonical names of datasets, by their names in lower case.
        skip: Datasets to leave out.
        needs_position: Whether there must be ``ra`` and ``dec``.

    Raises:
        DataError: If there are no pixels, or they or a column are not as expected.
    """
    items = own_items(group)
    held = set(items)
    pixels = items.pop(images, None)
    if not isinstance(pixels, h5py.Dataset):
        raise DataError(f"{path} has no dataset `{images}`; it has {listing(path)}")
    shape: tuple[int, ...] = pixels.shape or ()
    if channels_last and len(shape) == 4:
        shape = (shape[0], shape[3], shape[1], shape[2])
    require_images(path, shape, pixels.dtype, images)
    require_inside(path, pixels)
    rows, bands, size_px, _ = shape
    skipped = tuple(name for name in skip if items.pop(name, None) is not None)
    attributes = plain_attributes(group)
    named = [name for name, item in items.items() if _names_bands(name, item, bands)]
    for name in named:
        stated = parse_bands(items.pop(name).asstr("utf-8", "replace")[()])
        also = next((value for key, value in attributes.items() if key.lower() == "bands"), None)
        if also is None:
            attributes["bands"] = ",".join(split_bands(stated, bands))
        elif split_bands(parse_bands(also), bands) != split_bands(stated, bands):
            raise DataError(
                f"{path}: the dataset `{name}` names the bands {','.join(stated)}, the attribute "
                f"`bands` {','.join(parse_bands(also))}; mend one of them"
            )
    datasets, left_out = find_columns(
        path, items, rows, bands, canonical=canonical, needs_position=needs_position
    )
    elsewhere = (f"{name} (a link out of the file)" for name in set(group) - held)
    left_out = (*skipped, *left_out, *sorted(elsewhere))
    return Examined(rows, bands, size_px, pixels.dtype, datasets, left_out, attributes)


def _names_bands(name: str, item: h5py.HLObject, bands: int) -> bool:
    """Whether a dataset is the names of the bands: text, ``g,r,z`` or one name each."""
    return (
        name.lower() == "bands"
        and isinstance(item, h5py.Dataset)
        and (item.dtype.kind == "S" or h5py.check_string_dtype(item.dtype) is not None)
        and item.shape in ((), (1,), (bands,))
    )


def find_columns(
    path: Path,
    items: Mapping[str, h5py.HLObject],
    rows: int,
    n_bands: int,
    *,
    canonical: Mapping[str, str] = CANONICAL,
    needs_position: bool = True,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Map the canonical name of every per-row column to its dataset.

    Args:
        path: The file, for messages.
        items: What may be a column, by name: everything but the pixels.
        rows: Number of cutouts.
        n_bands: Number of bands.
        canonical: Canonical names of datasets, by their names in lower case.
        needs_position: Whether there must be ``ra`` and ``dec``.

    Returns:
        The datasets by canonical name, and the names of what can be no column.

    Raises:
        DataError: If a column is not as long as the pixels, a per-band one has another width,
            a position is missing, or two datasets claim one name.
    """
    found: dict[str, h5py.Dataset] = {}
    left_out = []
    for name, dataset in items.items():
        if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
            left_out.append(name)
            continue
        if len(dataset) != rows:
            raise DataError(
                f"{path}: `images` has {rows} rows but `{name}` has {len(dataset)}; "
                f"every dataset at the root must have one entry per cutout"
            )
        if dataset.ndim > 2 or not _is_plain(dataset.dtype):
            left_out.append(name)
            continue
        column = canonical.get(name.lower(), name.lower())
        if column in found:
            _require_plausible(path, dataset)
            require_same_column(
                path, column, (_name(found[column]), found[column]), (name, dataset)
            )
            left_out.append(name)
            continue
        if column in PER_BAND and dataset.shape != (rows, n_bands):
            raise DataError(
                f"{path}: `{name}` has shape {dataset.shape}, expected ({rows}, {n_bands})"
            )
        _require_plausible(path, dataset)
        lost = lost_digits(dataset[...]) if column == "id" and dataset.dtype.kind == "f" else ""
        if lost:
            left_out.append(f"{name} ({lost})")
            continue
        if column == "z" and dataset.ndim == 1 and dataset.dtype.kind not in "biuf":
            if said := no_numbers(name, read_column(dataset)):
                left_out.append(said)
        found[column] = dataset
    _require_numbers(path, found, needs_position)
    return {column: _name(dataset) for column, dataset in found.items()}, tuple(left_out)


def require_same_column(
    path: Path, column: str, one: tuple[str, Any], other: tuple[str, Any]
) -> None:
    """Refuse two arrays that mean one column, such as ``Z`` and ``z``, unless they are the same.

    Args:
        path: The file, for messages.
        column: What both mean.
        one: Name and values of the first; a dataset will do.
        other: Name and values of the second.

    Raises:
        DataError: If their values differ.
    """
    first, second = (np.asarray(values[...]) for _, values in (one, other))
    if first.shape == second.shape:
        same = (first == second) | ((first != first) & (second != second))
        if np.all(same):
            return
    raise DataError(
        f"{path}: `{one[0]}` and `{other[0]}` both mean column {column!r} and differ; rename "
        f"one of them, such as a magnitude `z` to `mag_z`"
    )


def _name(dataset: h5py.Dataset) -> str:
    return str(dataset.name).lstrip("/")


def _is_plain(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufS" or h5py.check_string_dtype(dtype) is not None


def _require_plausible(path: Path, dataset: h5py.Dataset) -> None:
    require_inside(path, dataset)
    size = path.stat().st_size
    if dataset.nbytes > MOST_COMPRESSION * size:
        raise DataError(
            f"{path}: `{_name(dataset)}` claims {dataset.nbytes} bytes, the file has "
            f"{size}; it is damaged, or made to fill memory"
        )


def _require_numbers(path: Path, columns: Mapping[str, h5py.Dataset], needs_position: bool) -> None:
    for column in ("ra", "dec"):
        if needs_position and column not in columns:
            raise DataError(f"{path} has no `{column.upper()}`; it has {listing(path)}")
    for column in ("ra", "dec", "z", "ebv"):
        dataset = columns.get(column)
        if column == "z" and dataset is not None and dataset.dtype.kind not in "biuf":
            continue  # text is judged word by word
        if dataset is not None and not (dataset.ndim == 1 and dataset.dtype.kind in "iuf"):
            raise DataError(
                f"{path}: `{_name(dataset)}` is {dataset.dtype} of shape "
                f"{dataset.shape}, expected real numbers of shape ({len(dataset)},)"
            )
        if dataset is not None and column in ("ra", "dec"):
            for name in UNITS:
                require_degrees(path, _name(dataset), dataset.attrs.get(name))


def listing(path: Path) -> str:
    """Name what a file holds at its root, for messages."""
    return ", ".join(f"`{name}`" for name in list(root_items(path))[:40]) or "nothing at its root"


def plain_attributes(group: h5py.Group) -> dict[str, Any]:
    """Attributes that are numbers or text."""
    kept = {}
    for name, value in group.attrs.items():
        values = np.asarray(value)
        texts = values.dtype.kind == "O" and all(
            isinstance(one, str | bytes) for one in values.flat
        )
        if isinstance(value, str | bytes) or texts or values.dtype.kind in "biufSU":
            kept[name] = value
    return kept


def read_column(dataset: h5py.Dataset) -> Array:
    """Read a whole column: text as ``str``, numbers in the byte order of this machine."""
    if dataset.dtype.kind in "SO":
        return np.asarray(dataset.asstr("utf-8", "replace")[:], dtype=str)
    return np.asarray(dataset[:], dtype=dataset.dtype.newbyteorder("="))
