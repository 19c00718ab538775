"""The artefacts of a run that belong together, found and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.find import Artefact, find_artefacts
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.density_table import GRID
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index

NOT_SHOWN = ("row", "id", "embedding", "aperture", "thumbnail")
MOST_WORDS = 12  # a text column with more different words than this has no colours
COLUMNS_KEPT = 16
ROW_BYTES = 1536  # about what a thumbnail and a catalogue entry take
SUMMARY = ("z_phot", "z_lo", "z_hi", "odds", "p_below_003", "p_below_005")
GROUPS_KEPT = 32
KEYS = ("id", "ra", "dec")  # an id can stand for several cutouts


class Column(NamedTuple):
    """A column to colour by.

    Attributes:
        name: Name in the store; whatever a catalogue's author wrote.
        words: Words of a text column, in the order of the numbers that stand for them; else empty.
    """

    name: str
    words: tuple[str, ...] = ()


def read_places(path: Path, *, rows: int) -> Array:
    """Read a map's coordinates, in the order of the store.

    Args:
        path: ``map.parquet``, with the columns ``row``, ``x`` and ``y``.
        rows: Galaxies in the store.

    Returns:
        Little-endian float32, shape (N, 2); NaN where a galaxy has no place, or one that is not
        finite.

    Raises:
        ArtefactError: If it cannot be read, or names rows that the store does not have.
        DataError: If no galaxy has a place.
    """
    try:
        table = pq.read_table(path, columns=["row", "x", "y"])
        row, x, y = (np.asarray(table.column(name)) for name in ("row", "x", "y"))
        found = np.stack([x, y], axis=1).astype("<f4")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArtefactError(f"cannot read {path} ({error}); run map again") from None
    if len(row) and not (row.dtype.kind in "iu" and 0 <= row.min() and row.max() < rows):
        raise ArtefactError(f"{path} names rows that are not 0 to {rows - 1}; run map again")
    places = np.full((rows, 2), np.nan, "<f4")
    places[row] = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)
    if np.isnan(places).all():
        raise DataError(f"{path} gives no galaxy a finite place on the map; run map again")
    return places


class Columns:
    """The columns that galaxies can be coloured by, each known to the page by its number.

    Attributes:
        listed: The columns, in the order of their numbers.
        extra: Those that are not in the store, by name, shape (N,) each.
    """

    def __init__(self, embeddings: Embeddings, extra: Mapping[str, Array]) -> None:
        self._embeddings = embeddings
        self.extra = dict(extra)
        self.listed = [*map(Column, extra), *_of_store(embeddings, set(extra))]
        self.numbers = lru_cache(COLUMNS_KEPT)(self._to_numbers)

    def __len__(self) -> int:
        return len(self.listed)

    def values(self, number: int) -> Array:
        """Column as it is stored, shape (N,)."""
        name = self.listed[number].name
        return self.extra[name] if name in self.extra else self._embeddings.column(name)

    def _to_numbers(self, number: int) -> Array:
        """Column as little-endian float32, shape (N,); words as their places."""
        values, words = self.values(number), self.listed[number].words
        if words:
            places = {word: place for place, word in enumerate(words)}
            return np.array([places.get(str(word), np.nan) for word in values], "<f4")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(values).astype("<f4")


def _of_store(embeddings: Embeddings, taken: set[str]) -> list[Column]:
    schema = pq.read_schema(embeddings.folder / min(embeddings.card.shards))
    found = []
    for field in schema:
        if field.name in NOT_SHOWN or field.name in taken:
            continue
        kind = field.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            found.append(Column(field.name))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            words = sorted({str(word) for word in embeddings.column(field.name)})
            if len(words) <= MOST_WORDS:
                found.append(Column(field.name, tuple(words)))
    return found


class Shard(NamedTuple):
    """A shard in memory: embeddings (n, D), JPEG bytes or None, and the other columns."""

    vectors: Array
    thumbnails: pa.Array | None
    columns: pa.Table


class Rows:
    """Random access to a store; the shards read last stay in memory.

    Attributes:
        has_thumbnails: Whether `thumbnail` has pictures to give.
    """

    def __init__(self, embeddings: Embeddings, *, memory_bytes: int = 2 << 30) -> None:
        self._paths = [embeddings.folder / name for name in sorted(embeddings.card.shards)]
        counts = [pq.read_metadata(path).num_rows for path in self._paths]
        self._starts = np.cumsum([0, *counts])
        self.has_thumbnails = embeddings.has_thumbnails
        self._kept = max(1, memory_bytes // (max(counts) * (2 * embeddings.dim + ROW_BYTES)))
        self._shard = lru_cache(self._kept)(self._read)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def warm(self) -> None:
        """Read the shards that memory holds, so that the first click is as fast as the others."""
        first = range(min(self._kept, len(self._paths)))
        for number in tqdm(first, desc="reading embeddings", unit="shard", leave=False):
            self._shard(number)

    def vector(self, row: int) -> Floats:
        """One embedding, float32, shape (D,)."""
        shard, place = self._find(row)
        return np.asarray(shard.vectors[place], np.float32)

    def thumbnail(self, row: int) -> bytes | None:
        """Small colour picture of a galaxy, a JPEG; None if it has none."""
        shard, place = self._find(row)
        return None if shard.thumbnails is None else shard.thumbnails[place].as_py()

    def columns(self, row: int) -> dict[str, Any]:
        """What the store says of a galaxy besides, by column."""
        shard, place = self._find(row)
        said: dict[str, Any] = shard.columns.slice(place, 1).to_pylist()[0]
        return said

    def _find(self, row: int) -> tuple[Shard, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shard(number), int(row - self._starts[number])

    def _read(self, number: int) -> Shard:
        try:
            table = pq.read_table(self._paths[number]).combine_chunks()
        except (OSError, pa.ArrowException) as error:
            raise ArtefactError(f"cannot read {self._paths[number]}: {error}") from None
        listed = _joined(table, "embedding")
        vectors = listed.flatten().to_numpy(zero_copy_only=False)
        wide = [
            name for name in ("embedding", "aperture", "thumbnail") if name in table.schema.names
        ]
        return Shard(
            vectors.reshape(-1, listed.type.list_size),
            _joined(table, "thumbnail") if self.has_thumbnails else None,
            table.drop_columns(wide),
        )


def _joined(table: pa.Table, name: str) -> pa.Array:
    return pa.concat_arrays(table.column(name).chunks)


class Densities:
    """Table that ``probe density=true`` wrote, beside the rows of a catalogue.

    Attributes:
        grid: Redshifts at which densities are given, shape (G,).
        position: Place of each catalogue row in the table, -1 where it has none, shape (N,).
        summary: Columns of the table, spread over catalogue rows, NaN elsewhere, (N,) each.
    """

    def __init__(
        self, path: Path, grid: Array, position: Ints, summary: dict[str, Array], starts: Ints
    ) -> None:
        self.grid = grid
        self.position = position
        self.summary = summary
        self._path = path
        self._starts = starts
        self._group = lru_cache(GROUPS_KEPT)(self._read_group)

    @classmethod
    def open(cls, path: Path, catalogue: Catalogue) -> Densities:
        """Read all but the densities themselves.

        Args:
            path: ``pdfs.parquet``.
            catalogue: Catalogue whose rows will be asked for.

        Raises:
            ArtefactError: If it is no table of densities.
        """
        try:
            file = pq.ParquetFile(path)
            grid = np.array(json.loads(file.schema_arrow.metadata[GRID]), np.float64)
            names = [name for name in SUMMARY if name in file.schema_arrow.names]
            table = file.read([*KEYS, *names])
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ArtefactError(
                f"{path} is not a readable table of densities ({type(error).__name__}); run "
                f"probe density=true again"
            ) from None
        keys = zip(*(table.column(name).to_pylist() for name in KEYS), strict=True)
        place = {key: number for number, key in enumerate(keys)}
        asked = zip(*(getattr(catalogue, name).tolist() for name in KEYS), strict=True)
        position = np.array([place.get(key, -1) for key in asked], np.int64)
        known = position >= 0
        summary = {name: np.full(len(catalogue), np.nan, np.float32) for name in names}
        for name, values in summary.items():
            values[known] = table.column(name).to_numpy()[position[known]]
        return cls(path, grid, position, summary, np.cumsum([0, *groups]))

    def of(self, row: int) -> dict[str, Any] | None:
        """Density of a catalogue row and what is read off it, or None if it has none.

        Returns:
            ``pdf``, shape (G,), per unit redshift, and the columns of `SUMMARY` as numbers.
        """
        place = int(self.position[row])
        if place < 0:
            return None
        group = int(np.searchsorted(self._starts, place, side="right")) - 1
        density = self._group(group)[place - self._starts[group]]
        return {"pdf": density, **{name: float(v[row]) for name, v in self.summary.items()}}

    def _read_group(self, group: int) -> Floats:
        column = pq.ParquetFile(self._path).read_row_group(group, columns=["pdf"]).column("pdf")
        values: Floats = column.combine_chunks().flatten().to_numpy().reshape(-1, len(self.grid))
        return values


@dataclass(frozen=True)
class Run:
    """What the page is about.

    Attributes:
        name: Name of the run's folder.
        embeddings: The store that map, index and densities were made from.
        catalogue: Its galaxies.
        places: Their coordinates on the map, float32, shape (N, 2); NaN where they have none.
        index: Finds look-alikes.
        densities: Redshift densities; None if the run has none.
        encoder: The encoder folder, to embed uploads; None if it is not in the run.
    """

    name: str
    embeddings: Embeddings
    catalogue: Catalogue
    places: Array
    index: Index
    densities: Densities | None
    encoder: Path | None

    @property
    def simulated(self) -> bool:
        """Whether the galaxies are simulated."""
        return self.embeddings.card.simulated


def open_run(folder: Path) -> Run:
    """Open the map of a run and, by the checksums on their cards, what belongs to it.

    Args:
        folder: Holds the artefacts, at any depth.

    Raises:
        ArtefactError: If there is no map, or the embeddings or the index it belongs to are not
            there; says which verb makes them.
    """
    found = find_artefacts(folder)
    layout = _first(found, "map")
    if layout is None:
        raise ArtefactError(f"{folder} holds no finished map; run: ssl-photoz map out={folder}/map")
    parent = layout.card.parents["embeddings"]
    store = _first(found, "embeddings", sha256=parent)
    if store is None:
        raise ArtefactError(
            f"{layout.folder} was made from embeddings {parent[:12]}, which are not in {folder}; "
            f"run map again on the embeddings that are"
        )
    embeddings = Embeddings.open(store.folder)
    index = _first(found, "index", parent=parent)
    if index is None:
        raise ArtefactError(
            f"{folder} holds no finished index of {store.name}; run: ssl-photoz index "
            f"embeddings={store.folder} out={folder}/index"
        )
    opened = Index.load(index.folder)
    catalogue = Catalogue.read(embeddings, opened.columns)
    density = _first(found, "densities", parent=parent)
    encoder = _first(found, "encoder", sha256=embeddings.card.encoder)
    return Run(
        name=folder.resolve().name,
        embeddings=embeddings,
        catalogue=catalogue,
        places=read_places(layout.folder / "map.parquet", rows=len(embeddings)),
        index=opened,
        densities=density and Densities.open(density.folder / "pdfs.parquet", catalogue),
        encoder=encoder and encoder.folder,
    )


def _first(
    found: list[Artefact], kind: str, *, sha256: str | None = None, parent: str | None = None
) -> Artefact | None:
    """Artefact of a kind with the shortest name, among those that fit."""
    fitting = [
        artefact
        for artefact in found
        if artefact.kind == kind
        and sha256 in (None, artefact.sha256)
        and parent in (None, artefact.card.parents.get("embeddings"))
    ]
    return min(fitting, key=lambda artefact: (len(artefact.name), artefact.name), default=None)
