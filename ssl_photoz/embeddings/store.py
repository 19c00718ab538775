"""Embeddings on disk: immutable Parquet shards, a rejects table, a card.

Shard ``part-00003.parquet`` holds the accepted rows of one run of cutout-file rows. What was
rejected from that run stands in the shard's own metadata, so that one atomic rename accounts
for every row of it. Shards may lie in folders below, as the tiles of a HATS catalogue do.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.catalog.delimited import with_gaps
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, DataError, ShapeError
from ssl_photoz.core.types import Array, Floats, PathLike
from ssl_photoz.encoders.settings import ReadOutConfig

ACCOUNT = b"ssl_photoz.rows"
EMPTY = "empty"  # folder of shards without a good row, where a shard is a tile
# How much the numbers of a block count between look-alikes, where it is not 1. Chosen by what
# neighbours share among simulated galaxies of the training sky. PSF and noise make none alike.
BLOCK_WEIGHTS = {"concentrations": 0.5, "textures": 0.5, "asymmetry": 0.5, "conditions": 0.0}
# What a card says of how vectors were made.
HOW_MADE = (
    *("encoder", "stages", "orientations", "crop_px"),
    *("bands", "pixscale_arcsec", "calibrated", "extinction_corrected"),
)


class EmbeddingsCard(artefact.Card):
    """What the card of embeddings says."""

    @property
    def encoder(self) -> str:
        """Checksum of the encoder's card, or a name for a network that is not there."""
        return str(self.get("encoder", ""))

    @property
    def readout(self) -> ReadOutConfig:
        """What was read from the network."""
        return ReadOutConfig(str(self["stages"]), int(self["orientations"]))

    @property
    def blocks(self) -> dict[str, int]:
        """Name and length of each block of an embedding, in order; empty where there are none."""
        return {str(name): int(length) for name, length in self.get("blocks", {}).items()}

    @property
    def bands(self) -> list[str]:
        """Names of the cutouts' bands."""
        return list(self["bands"])

    @property
    def pixscale_arcsec(self) -> float:
        """Pixel scale of the cutouts, arcsec per pixel."""
        return float(self["pixscale_arcsec"])

    @property
    def split(self) -> dict[str, Any]:
        """The sky split; empty where none was kept."""
        return dict(self.get("split") or {})

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return int(self["dim"])

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the per-row columns."""
        return tuple(self["columns"])

    @property
    def shards(self) -> dict[str, str]:
        """Path of each shard file that holds rows, in the folder, to its sha256."""
        return dict(self["shards"])

    @property
    def rows_in(self) -> int:
        """Rows of the cutout file."""
        return int(self["rows_in"])

    @property
    def rows_written(self) -> int:
        """Rows with an embedding."""
        return int(self["rows_written"])

    @property
    def rows_rejected(self) -> int:
        """Rows without one."""
        return int(self["rows_rejected"])

    @property
    def extinction_corrected(self) -> bool:
        """Whether vectors and apertures are of flux corrected for Galactic extinction."""
        return bool(self.get("extinction_corrected", False))

    @property
    def ebv_typical_mag(self) -> float | None:
        """Median E(B-V) of the cutouts, mag; None where nothing was corrected for it."""
        found = self.get("ebv_typical_mag")
        return None if found is None else float(found)

    def how_made(self, name: str) -> object:
        """An entry of `HOW_MADE`, or any other, as it is to be compared with another card's."""
        return self.extinction_corrected if name == "extinction_corrected" else self.get(name)

    @property
    def labels_seen(self) -> list[Any]:
        """Ids of the galaxies whose redshifts the encoder has learnt from."""
        return list(self.get("labels_seen", ()))


class Reject(NamedTuple):
    """A row of the cutout file that has no embedding, and why."""

    row: int
    id: str
    reason: str


def write_shard(
    folder: Path,
    number: int,
    columns: Mapping[str, Array | Sequence[bytes]],
    *,
    rejects: Sequence[Reject] = (),
) -> Path:
    """Write one shard atomically.

    Args:
        folder: The embeddings folder.
        number: Shard number.
        columns: Per-row columns: (n,) arrays, (n, m) arrays (stored as fixed-size lists) or a
            list of n byte strings.
        rejects: The rows of this shard's range that were refused.

    Returns:
        The shard's path.

    Raises:
        ShapeError: If the columns differ in length.
    """
    return write_arrow_shard(folder, number, shard_table(columns), rejects=rejects)


def shard_table(columns: Mapping[str, Array | Sequence[bytes]]) -> pa.Table:
    """Columns as a shard holds them; see `write_shard`.

    Raises:
        ShapeError: If the columns differ in length.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ShapeError(f"columns of one shard must be equally long, got {lengths}")
    return pa.table({name: _to_arrow(values) for name, values in columns.items()})


def write_arrow_shard(
    folder: Path, number: int, table: pa.Table, *, rejects: Sequence[Reject] = ()
) -> Path:
    """Write a shard from a table that has the columns of one; see `write_shard`."""
    path = folder / f"part-{number:05d}.parquet"
    write_accounted(path, table, rejects=rejects)
    return path


def write_accounted(path: Path, table: pa.Table, *, rejects: Sequence[Reject] = ()) -> None:
    """Write a table and, in its metadata, the rows that are not in it; atomically."""
    account = {"rows_in": table.num_rows + len(rejects), "rejects": [list(r) for r in rejects]}
    metadata = {**(table.schema.metadata or {}), ACCOUNT: json.dumps(account).encode()}
    with artefact.atomic_path(path) as scratch:
        # Numbers hardly repeat: a dictionary of them is dead weight, slow to read back.
        words = [field.name for field in table.schema if pa.types.is_string(field.type)]
        table = table.replace_schema_metadata(metadata)
        pq.write_table(table, scratch, compression="zstd", use_dictionary=words)


def read_account(shard: Path) -> tuple[int, list[Reject]]:
    """Number of cutout rows that a shard accounts for, and those that it rejects.

    Raises:
        ArtefactError: If the shard is damaged or was not written by `write_shard`.
    """
    try:
        metadata = pq.read_metadata(shard).metadata or {}
        account = json.loads(metadata[ACCOUNT])
        return int(account["rows_in"]), [Reject(*r) for r in account["rejects"]]
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{shard} is not a readable embeddings shard ({type(error).__name__}); delete it and "
            f"run embed again: only this shard is redone"
        ) from None


def is_whole(shard: Path, rows_in: int) -> bool:
    """Whether a shard is there and accounts for so many rows; damage is reported."""
    if not shard.exists():
        return False
    try:
        return read_account(shard)[0] == rows_in
    except ArtefactError as error:
        print(f"redoing a damaged shard: {error}")
        return False


def finish(
    folder: Path, *, rows_in: int, config: object, parents: Mapping[str, str], **facts: object
) -> EmbeddingsCard:
    """Account for every row, write ``rejects.parquet`` and then the card.

    Args:
        folder: The embeddings folder, all shards written.
        rows_in: Rows of the cutout file.
        config: Settings, for the card.
        parents: sha256 of the encoder and fingerprint of the cutout file.
        **facts: What consumers must know: ``simulated``, ``calibrated``, ``encoder`` ...

    Raises:
        ArtefactError: If the shards do not account for ``rows_in`` rows.
        DataError: If every row was rejected.
    """
    shards = sorted(folder.glob("part-*.parquet"))
    return finish_shards(folder, shards, facts, rows_in=rows_in, config=config, parents=parents)


def finish_shards(
    folder: Path,
    shards: Sequence[Path],
    facts: Mapping[str, object],
    *,
    rows_in: int,
    config: object,
    parents: Mapping[str, str],
) -> EmbeddingsCard:
    """Do what `finish` does, for shards of any names in the folder or below it.

    Args:
        folder: The embeddings folder.
        shards: Files of the shards, those without rows too.
        facts: For the card.
        rows_in: Rows of the cutout file.
        config: Settings, for the card.
        parents: Checksums of what they were made from.
    """
    accounts = [read_account(shard) for shard in shards]
    rejects = [reject for _, some in accounts for reject in some]
    accounted = sum(rows for rows, _ in accounts)
    if accounted != rows_in:
        raise ArtefactError(
            f"{folder} accounts for {accounted} rows, the cutout file has {rows_in}"
        )
    with artefact.atomic_path(folder / "rejects.parquet") as scratch:
        table = {
            "row": pa.array([r.row for r in rejects], pa.int64()),
            "id": pa.array([r.id for r in rejects], pa.string()),
            "reason": pa.array([r.reason for r in rejects], pa.string()),
        }
        pq.write_table(pa.table(table), scratch)
    filled = [shard for shard in shards if pq.read_metadata(shard).num_rows]
    if not filled:
        why = rejects[0].reason if rejects else "there are none"
        raise DataError(f"not one of {rows_in} rows could be embedded (first: {why})")
    schema = pq.read_schema(filled[0])
    names = [shard.relative_to(folder).as_posix() for shard in filled]
    with ThreadPoolExecutor() as readers:
        digests = list(readers.map(artefact.sha256_of, filled))
    card = artefact.write_card(
        folder,
        "embeddings",
        config=config,
        parents=parents,
        rows_in=rows_in,
        rows_written=rows_in - len(rejects),
        rows_rejected=len(rejects),
        dim=schema.field("embedding").type.list_size,
        columns=schema.names,
        shards=dict(zip(names, digests, strict=True)),
        **facts,
    )
    return EmbeddingsCard(card)


def write_embeddings(
    folder: Path,
    columns: Mapping[str, Array | Sequence[bytes]],
    vectors: Array,
    *,
    parents: Mapping[str, str] | None = None,
    **facts: object,
) -> Embeddings:
    """Write a whole embeddings artefact from arrays, in one shard.

    Args:
        folder: Folder to write.
        columns: ``id``, ``ra``, ``dec``, ``z``, ``split`` and any other, each (N, ...).
        vectors: Shape (N, D); stored in its own dtype (float16 or float32).
        parents: sha256 of what it was made from.
        **facts: For the card; ``simulated`` and ``calibrated`` default to False and True.
    """
    write_shard(folder, 0, {"row": np.arange(len(vectors)), **columns, "embedding": vectors})
    facts = {"simulated": False, "calibrated": True, "encoder": "", **facts}
    finish(folder, rows_in=len(vectors), config={}, parents=parents or {}, **facts)
    return Embeddings.open(folder)


class Embeddings:
    """A finished embeddings folder, read column by column.

    Attributes:
        folder: The folder.
        card: Its card.
        sha256: Checksum of its card: what children name as their parent.
        columns: Names of the per-row columns.
    """

    def __init__(self, folder: Path, card: EmbeddingsCard) -> None:
        self.folder = folder
        self.card = card
        self.sha256 = artefact.sha256_of(folder)
        self.columns = card.columns
        self._shards = [folder / name for name in sorted(card.shards)]

    @classmethod
    def open(cls, folder: PathLike | Embeddings) -> Embeddings:
        """Open a finished embeddings folder.

        Args:
            folder: The folder; or embeddings, which are given back.

        Raises:
            ArtefactError: If it is unfinished, or a shard is missing or empty.
        """
        if isinstance(folder, Embeddings):
            return folder
        folder = Path(folder)
        card = EmbeddingsCard(artefact.read_card(folder, "embeddings"))
        for name in card.shards:
            if not _lies_below(name):
                raise ArtefactError(
                    f"{folder}/card.json names a shard {name!r}, expected a path below the folder; "
                    f"the card is damaged: run embed again"
                )
            if not (folder / name).is_file():
                raise ArtefactError(f"{folder} lacks its shard {name}; run embed again")
        return cls(folder, card)

    def __len__(self) -> int:
        return self.card.rows_written

    @cached_property
    def shards(self) -> tuple[EmbeddingsShard, ...]:
        """The shards in the order of their rows, to read one at a time."""
        return tuple(EmbeddingsShard(self, path) for path in self._shards)

    def account_files(self) -> list[Path]:
        """Files that account for all rows in: the shards in order, and those without a good row."""
        parts = sorted(self.folder.glob("part-*.parquet"))
        return parts or [*self._shards, *sorted(self.folder.glob(f"{EMPTY}/*.parquet"))]

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return self.card.dim

    @property
    def weights(self) -> Floats | None:
        """How much each number counts between look-alikes, (D,); None: all the same."""
        blocks = self.card.blocks
        if not blocks:
            return None
        each = [np.full(length, BLOCK_WEIGHTS.get(name, 1.0)) for name, length in blocks.items()]
        return np.concatenate(each).astype(np.float32)

    @property
    def parts(self) -> dict[str, slice]:
        """Where each block lies in an embedding; ``measurements``: all of them but the learnt."""
        ends = np.cumsum([0, *self.card.blocks.values()]).tolist()
        found = {
            name: slice(*within)
            for name, within in zip(self.card.blocks, pairwise(ends), strict=True)
        }
        measured = ends[-1] - self.card.blocks.get("learnt", 0)
        return found | ({"measurements": slice(0, measured)} if measured else {})

    @property
    def has_thumbnails(self) -> bool:
        """Whether `thumbnails` has pictures to give."""
        return "thumbnail" in self.columns

    def column(self, name: str) -> Array:
        """One column, shape (N,) or (N, m); text as an object array.

        Raises:
            ArtefactError: If there is no such column.
        """
        if name not in self.columns:
            raise ArtefactError(
                f"{self.folder} has no column {name!r}; it has {', '.join(self.columns)}"
            )
        return np.concatenate([_to_numpy(self._read(s, name)) for s in self._shards])

    def vectors(self, name: str = "embedding") -> Floats:
        """Vectors as float32, shape (N, D): ``embedding``, ``aperture`` or one of `parts`."""
        if (part := self.parts.get(name)) is not None:
            return np.ascontiguousarray(self.vectors()[:, part])
        return np.asarray(self.column(name), dtype=np.float32)

    def batches(self, size: int, name: str = "embedding") -> Iterator[Floats]:
        """Yield `vectors` in order, at most ``size`` rows at a time."""
        part = self.parts.get(name)
        for shard in self._shards:
            vectors = _to_numpy(self._read(shard, name if part is None else "embedding"))
            vectors = vectors if part is None else vectors[:, part]
            for start in range(0, len(vectors), size):
                yield np.asarray(vectors[start : start + size], dtype=np.float32)

    def thumbnails(self, rows: Sequence[int] | Array) -> list[Array]:
        """Decode the small colour pictures of some rows.

        Args:
            rows: Positions in this table (not ``row`` of the cutout file).

        Returns:
            One (S, S, 3) uint8 array per row asked, in the order asked.
        """
        from PIL import Image

        wanted = np.asarray(rows, dtype=np.int64)
        pictures: dict[int, bytes] = {}
        first = 0
        for shard in self._shards:
            last = first + pq.read_metadata(shard).num_rows
            inside = np.unique(wanted[(wanted >= first) & (wanted < last)])
            if len(inside):
                found = self._read(shard, "thumbnail").take(pa.array(inside - first))
                pictures |= dict(zip(inside.tolist(), found.to_pylist(), strict=True))
            first = last
        return [np.asarray(Image.open(io.BytesIO(pictures[row]))) for row in wanted.tolist()]

    def column_types(self) -> dict[str, str]:
        """Arrow type of each column, by name."""
        return {field.name: str(field.type) for field in pq.read_schema(self._shards[0])}

    def _read(self, shard: Path, name: str) -> pa.ChunkedArray:
        try:
            return pq.read_table(shard, columns=[name]).column(name)
        except (OSError, pa.ArrowException) as error:
            raise ArtefactError(f"cannot read {name!r} from {shard}: {error}") from None


class EmbeddingsShard(Embeddings):
    """One shard of embeddings: embeddings too, of its rows only.

    Attributes:
        path: Its file.
        name: Path in the folder, as the card names it.
    """

    def __init__(self, whole: Embeddings, path: Path) -> None:
        self.folder, self.card, self.sha256 = whole.folder, whole.card, whole.sha256
        self.columns = whole.columns
        self.path, self.name = path, path.relative_to(whole.folder).as_posix()
        self._shards = [path]

    def __len__(self) -> int:
        return self.rows

    @cached_property
    def rows(self) -> int:
        """Number of rows."""
        try:
            return int(pq.read_metadata(self.path).num_rows)
        except (OSError, pa.ArrowException) as error:
            raise ArtefactError(f"cannot read {self.path}: {error}") from None


def _lies_below(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _to_arrow(values: Array | Sequence[bytes]) -> pa.Array:
    if not isinstance(values, np.ndarray):
        return pa.array(values, pa.binary())
    if values.dtype.kind in "SUO":
        known = [v for v in values.tolist() if v is not None]
        if known and all(isinstance(v, int) for v in known):  # whole numbers with gaps
            return pa.array(values.tolist())
        text = [v.decode() if isinstance(v, bytes) else str(v) for v in known]
        if len(known) == len(values):
            return pa.array(text, pa.string())
        nothing = iter(text)
        return pa.array(["" if v is None else next(nothing) for v in values], pa.string())
    if values.ndim == 1:
        return pa.array(values)
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def _to_numpy(column: pa.ChunkedArray) -> Array:
    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    if pa.types.is_fixed_size_list(column.type):
        flat: Array = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(-1, column.type.list_size)
    if column.null_count and pa.types.is_integer(column.type):  # as floats they would be rounded
        return with_gaps(
            column.fill_null(0).to_numpy(), column.is_null().to_numpy(zero_copy_only=False)
        )
    values: Array = column.to_numpy(zero_copy_only=False)
    return values
