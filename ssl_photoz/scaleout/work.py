"""What is done to a tile: embed it, predict it. Each is written whole, or recorded as failed.

A tile is a Parquet file whose metadata accounts for every row of its input, so that one atomic
rename finishes it; one without a usable row lies in ``empty/`` instead. An error is one tile's
own: it is recorded in ``failed/`` under the tile's name, and the others go on.
"""

from __future__ import annotations

import errno
import json
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.catalog.writable import to_arrow
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import MismatchError, SslPhotozError
from ssl_photoz.core.signals import StoppedError
from ssl_photoz.core.types import Array
from ssl_photoz.cutouts.examined import examined
from ssl_photoz.cutouts.extinction import typical_ebv
from ssl_photoz.cutouts.mask import masked_rows
from ssl_photoz.cutouts.parquet_out import cutout_table, parquet_columns, row_groups
from ssl_photoz.cutouts.quality import BAD_POSITION, has_position, row_reasons, usable_labels
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, sky_split
from ssl_photoz.embeddings.embed import as_encoder_takes, card_facts, embed_stream
from ssl_photoz.embeddings.store import (
    ACCOUNT,
    EMPTY,
    Embeddings,
    EmbeddingsShard,
    Reject,
    is_whole,
    shard_table,
)
from ssl_photoz.encoders.artefact import load_encoder
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.settings import ReadOutConfig
from ssl_photoz.nearby.search_files import KeptSearch, load_search
from ssl_photoz.photoz.artefact import ProbeCard, load_probe, predict_rows
from ssl_photoz.photoz.base import Probe
from ssl_photoz.photoz.density_table import density_parts, density_rows, load_calibrated
from ssl_photoz.photoz.experiment import Calibrated
from ssl_photoz.scaleout.hats import INDEX, Cell, spatial_index
from ssl_photoz.scaleout.tiles import NO_POSITION, Tile, open_shard, open_tile

FACTS = b"ssl_photoz.tile"
FAILED = "failed"
GROUP_ROWS = 8_192  # of a row group: what is in memory of a tile at once
FULL = (errno.ENOSPC, errno.EDQUOT)


class Part(NamedTuple):
    """Some rows of a tile on their way to its file.

    Attributes:
        table: Their columns; None if there are none.
        rejects: Rows of the input that are not among them.
        facts: What the tile's own metadata are to say besides its account.
    """

    table: pa.Table | None
    rejects: list[Reject]
    facts: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Done:
    """A tile that is there.

    Attributes:
        name: Its name.
        seconds: How long it took; 0 for one that was there already.
    """

    name: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A tile that is not.

    Attributes:
        cell: Its cell of the sky.
        error: Kind of error.
        message: What it says.
        trace: Where it was raised; empty where a user can act on the message.
        full_disk: Number of the error if there is no space left, which ends the run; else 0.
        host: Machine on which it happened.
    """

    cell: Cell
    error: str
    message: str
    trace: str = ""
    full_disk: int = 0
    host: str = ""

    @property
    def name(self) -> str:
        """Name of the tile."""
        return self.cell.name

    @classmethod
    def of(cls, tile: Tile, error: BaseException) -> Failed:
        """What an error says of a tile."""
        plain = isinstance(error, SslPhotozError)
        return cls(
            tile.cell,
            type(error).__name__,
            str(error),
            "" if plain else "".join(traceback.format_exception(error)),
            error.errno if isinstance(error, OSError) and error.errno in FULL else 0,
            socket.gethostname(),
        )


@dataclass(frozen=True)
class Work:
    """What is done to each tile of a run; pickled to where that is.

    Attributes:
        out: Folder of the output.
        data: What the tiles are made from.
    """

    out: Path
    data: Path

    KIND: ClassVar[str]

    def __call__(self, tile: Tile, *, place: int = 0) -> Done:
        """Make a tile, unless it is there.

        Args:
            tile: The tile.
            place: Number of this process among those of the machine, which share its GPUs.
        """
        if finished_path(self.out, tile) is not None:
            return Done(tile.name, 0.0)
        started = time.monotonic()
        write_tile(self.out, tile.cell, self.parts(tile, place))
        failure_path(self.out, tile.cell).unlink(missing_ok=True)
        return Done(tile.name, time.monotonic() - started)

    def parts(self, tile: Tile, place: int) -> Iterator[Part]:
        """Yield the rows of a tile, sorted along the sky, some at a time."""
        raise NotImplementedError

    def card_facts(self, tile: Tile) -> dict[str, Any]:
        """What the card of all tiles says, by one of them."""
        raise NotImplementedError


def attempt(work: Work, tile: Tile, *, place: int = 0) -> Done | Failed:
    """Make a tile, or say why it cannot be made.

    Raises:
        Exception: If another attempt might succeed.
    """
    try:
        return work(tile, place=place)
    except StoppedError:
        raise
    except SslPhotozError as error:
        return Failed.of(tile, error)
    except OSError as error:
        if error.errno in FULL:
            return Failed.of(tile, error)
        raise


def write_tile(out: Path, cell: Cell, parts: Iterator[Part]) -> None:
    """Write a tile part by part, beside its place, then move it there.

    Args:
        out: Folder of the output.
        cell: Cell of the tile.
        parts: Its rows.
    """
    rejects: list[Reject] = []
    facts: dict[str, Any] = {}
    tables = _tables(parts, rejects, facts)
    first = next(tables, None)
    path = empty_path(out, cell) if first is None else out / cell.path
    first, rows = pa.table({"row": pa.array([], pa.int64())}) if first is None else first, 0
    words = [field.name for field in first.schema if pa.types.is_string(field.type)]
    with (
        artefact.atomic_path(path) as scratch,
        pq.ParquetWriter(scratch, first.schema, compression="zstd", use_dictionary=words) as writer,
    ):
        for table in chain([first], tables):
            writer.write_table(table)
            rows += table.num_rows
        account = {"rows_in": rows + len(rejects), "rejects": [list(one) for one in rejects]}
        said = {ACCOUNT: json.dumps(account), FACTS: json.dumps(facts)}
        writer.add_key_value_metadata({key: text.encode() for key, text in said.items()})


def _tables(
    parts: Iterator[Part], rejects: list[Reject], facts: dict[str, Any]
) -> Iterator[pa.Table]:
    """Yield the tables of parts, and note what else they say."""
    for part in parts:
        rejects += part.rejects
        facts |= part.facts
        if part.table is not None:
            yield part.table


def empty_path(out: Path, cell: Cell) -> Path:
    """Path of the account of a tile without rows."""
    return out / EMPTY / f"{cell.word}.parquet"


def finished_path(out: Path, tile: Tile) -> Path | None:
    """File of a tile that accounts for all its rows; None if there is none, or it is damaged."""
    for path in (out / tile.cell.path, empty_path(out, tile.cell)):
        if is_whole(path, tile.rows):
            return path
    return None


def tile_facts(path: Path) -> dict[str, Any]:
    """What a tile's own metadata say besides its account."""
    found: dict[str, Any] = json.loads((pq.read_metadata(path).metadata or {}).get(FACTS, b"{}"))
    return found


def failure_path(out: Path, cell: Cell) -> Path:
    """File in which the failure of a tile is recorded."""
    return out / FAILED / f"{cell.word}.json"


def record_failure(out: Path, failed: Failed) -> None:
    """Record that a tile failed; on a full disk it is only printed."""
    print(f"tile {failed.name} failed: {failed.error}: {failed.message}")
    try:
        artefact.write_json(failure_path(out, failed.cell), {"name": failed.name, **asdict(failed)})
    except OSError as error:
        if error.errno not in FULL:
            raise


@dataclass(frozen=True)
class ConvertTiles(Work):
    """Copy the cutouts of each tile; a row without a position on the sky has no place."""

    KIND: ClassVar[str] = "cutouts"

    def parts(self, tile: Tile, place: int) -> Iterator[Part]:
        """See `Work.parts`."""
        with open_tile(self.data, self.out, tile) as found:
            cutouts = found.cutouts
            columns, _ = parquet_columns(cutouts)
            rows, index, unplaced = _along_the_sky(cutouts, found.rows)
            ids = cutouts.column("id")
            reasons = dict.fromkeys(rows[index < 0].tolist(), BAD_POSITION)
            reasons |= dict.fromkeys(unplaced, NO_POSITION)
            rejects = [
                Reject(row + found.shift, str(ids[row]), why) for row, why in reasons.items()
            ]
            yield Part(None, rejects, {"simulated": cutouts.source.simulated})
            rows, index, first = rows[index >= 0], index[index >= 0], 0
            for some in row_groups(cutouts, rows, cutouts.source.size_px):
                table = cutout_table(cutouts, columns, some, cutouts.source.size_px)
                place_on_sky = pa.array(index[first : first + len(some)])
                first += len(some)
                yield Part(table.add_column(0, INDEX, place_on_sky), [])

    def card_facts(self, tile: Tile) -> dict[str, Any]:
        """See `Work.card_facts`."""
        with open_tile(self.data, self.out, tile) as found:
            source = found.cutouts.source
            return {
                "bands": list(source.bands),
                "pixscale_arcsec": source.pixscale_arcsec,
                "calibrated": source.calibrated,
                "simulated": source.simulated,
                "size_px": source.size_px,
                "dtype": source.dtype,
                "read_as": source.read_as,
                "left_out": parquet_columns(found.cutouts)[1],
            }


class _Prepared(NamedTuple):
    """Cutouts and what an encoder makes of them."""

    taken: Cutouts
    split: Array


@dataclass(frozen=True)
class EmbedTiles(Work):
    """Embed the cutouts of each tile.

    Attributes:
        encoder: Folder of the encoder.
        encoder_sha256: Checksum of its card: another encoder is refused.
        mask: Mask of the cutouts.
        readout: What is read from the network.
        batch_size: Cutouts per pass through the encoder.
        thumbnails: Whether to keep a small colour picture of each galaxy.
    """

    encoder: Path
    encoder_sha256: str
    mask: Path | None = None
    readout: ReadOutConfig = field(default_factory=ReadOutConfig)
    batch_size: int = 256
    thumbnails: bool = True

    KIND: ClassVar[str] = "embeddings"

    def parts(self, tile: Tile, place: int) -> Iterator[Part]:
        """See `Work.parts`."""
        encoder = self._loaded(place)
        with open_tile(self.data, self.out, tile) as found:
            cutouts, shift = found.cutouts, found.shift
            taken, split = self._prepared(cutouts, encoder, shared=not tile.source)
            rows, index, unplaced = _along_the_sky(cutouts, found.rows)
            masked = {row - shift: reason for row, reason in _masked(self.mask).items()}
            masked |= dict.fromkeys(unplaced, NO_POSITION)
            runs = [
                rows[start : start + self.batch_size]
                for start in range(0, len(rows), self.batch_size)
            ]
            stream = examined(
                taken,
                runs,
                crop_px=encoder.input_shape[-1],
                thumbnails=self.thumbnails,
                masked=masked,
            )
            facts = {
                "simulated": cutouts.source.simulated,
                "ebv_typical_mag": typical_ebv(taken),
            }
            at_once = max(GROUP_ROWS // self.batch_size, 1)
            for _ in range(0, len(runs), at_once):
                columns, rejects = embed_stream(
                    encoder, cutouts, islice(stream, at_once), split, self.readout
                )
                rejects = [one._replace(row=one.row + shift) for one in rejects]
                table = None
                if len(kept := columns["row"]):
                    columns |= {"row": kept + shift}
                    table = shard_table({INDEX: index[np.isin(rows, kept)], **columns})
                yield Part(table, rejects, facts)

    def card_facts(self, tile: Tile) -> dict[str, Any]:
        """See `Work.card_facts`."""
        encoder = self._loaded(0)
        with open_tile(self.data, self.out, tile) as found:
            return card_facts(encoder, as_encoder_takes(encoder, found.cutouts), self.readout)

    def _loaded(self, place: int) -> Encoder:
        return _encoder(self.encoder, self.encoder_sha256, place)

    def _prepared(self, cutouts: Cutouts, encoder: Encoder, *, shared: bool) -> _Prepared:
        return (_prepare_once if shared else _prepare)(cutouts, encoder)


def _prepare(cutouts: Cutouts, encoder: Encoder) -> _Prepared:
    taken = as_encoder_takes(encoder, cutouts)
    return _Prepared(taken, sky_split(cutouts, SplitConfig.of(encoder.card.split)).names)


_prepare_once = lru_cache(maxsize=1)(_prepare)
_masked = lru_cache(maxsize=1)(masked_rows)


def _along_the_sky(cutouts: Cutouts, rows: Array) -> tuple[Array, Array, list[int]]:
    """Rows sorted by cell of order 29, those cells (-1: none), and the rows without a position."""
    ra, dec = (cutouts.column(name)[rows] for name in ("ra", "dec"))
    placed = has_position(ra, dec) & (row_reasons(ra, dec) == "")
    index = np.full(len(rows), -1, np.int64)
    index[placed] = spatial_index(ra[placed], dec[placed])
    order = np.argsort(index, kind="stable")
    unplaced = rows[~has_position(ra, dec)]
    return rows[order], index[order], unplaced.tolist()


@lru_cache(maxsize=1)
def _encoder(folder: Path, sha256: str, place: int) -> Encoder:
    import torch

    from ssl_photoz.core.memory import keep_freed_memory

    keep_freed_memory()
    device = f"cuda:{place % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    encoder = load_encoder(folder, device=device)
    if encoder.sha256 != sha256:
        raise MismatchError(
            f"{folder} is now another encoder ({encoder.sha256[:12]}) than when the run began "
            f"({sha256[:12]}); put that back, or give another out="
        )
    return encoder


@dataclass(frozen=True)
class _OnEmbeddings(Work):
    """Something that reads the embeddings of each tile.

    Attributes:
        data_sha256: Checksum of the embeddings' card.
        using: Folder of what is applied to them.
        using_sha256: Checksum of its card.
    """

    data_sha256: str
    using: Path
    using_sha256: str

    KIND: ClassVar[str] = "predictions"
    WORK: ClassVar[str]

    def parts(self, tile: Tile, place: int) -> Iterator[Part]:
        """See `Work.parts`."""
        if (found := artefact.sha256_of(self.using)) != self.using_sha256:
            raise MismatchError(
                f"{self.using} is now another ({found[:12]}) than when the run began "
                f"({self.using_sha256[:12]}); put that back, or give another out="
            )
        shard, first = open_shard(_store(self.data, self.data_sha256), tile), 0
        index = shard.column(INDEX)
        for table in self.tables(shard):
            some = pa.array(index[first : first + table.num_rows])
            first += table.num_rows
            yield Part(table.add_column(0, INDEX, some), [])

    def card_facts(self, tile: Tile) -> dict[str, Any]:
        """See `Work.card_facts`."""
        of_data = _store(self.data, self.data_sha256).card
        used = artefact.Card(artefact.read_json(self.using / "card.json"))
        return {
            "work": self.WORK,
            "encoder": of_data.encoder,
            "simulated": used.simulated or of_data.simulated,
            "calibrated": of_data.calibrated,
            **({"label": used["label"]} if "label" in used else {}),
        }

    def tables(self, shard: EmbeddingsShard) -> Iterator[pa.Table]:
        """Yield the columns of all its rows, in order, some at a time."""
        raise NotImplementedError


@lru_cache(maxsize=1)
def _store(folder: Path, sha256: str) -> Embeddings:
    found = Embeddings.open(folder)
    if found.sha256 != sha256:
        raise MismatchError(
            f"{folder} now holds other embeddings than when the run began; give another out="
        )
    return found


@lru_cache(maxsize=1)
def _probe(folder: Path, sha256: str, which: str) -> tuple[ProbeCard, Probe]:
    return load_probe(folder, which)


@lru_cache(maxsize=1)
def _calibrated(folder: Path, sha256: str) -> Calibrated:
    return load_calibrated(folder)


@lru_cache(maxsize=1)
def _search(folder: Path, sha256: str) -> KeptSearch:
    return load_search(folder)


@dataclass(frozen=True)
class PredictTiles(_OnEmbeddings):
    """Give every galaxy of a tile a redshift.

    Attributes:
        which: Probe of the folder.
    """

    which: str = "mlp"

    WORK: ClassVar[str] = "predict"

    def tables(self, shard: EmbeddingsShard) -> Iterator[pa.Table]:
        """``z_phot`` and its interval, beside the spectroscopic redshift where there is one."""
        card, probe = _probe(self.using, self.using_sha256, self.which)
        every = np.ones(len(shard), bool)
        columns = predict_rows(probe, shard, every, features=card.features)  # type: ignore[arg-type]
        columns |= known_columns(shard)
        simulated = card.simulated or shard.card.simulated
        columns["simulated"] = np.full(len(shard), simulated)
        yield pa.table({name: to_arrow(name, values) for name, values in columns.items()})


@dataclass(frozen=True)
class DensityTiles(_OnEmbeddings):
    """Give every galaxy of a tile a calibrated redshift density."""

    WORK: ClassVar[str] = "density"

    def tables(self, shard: EmbeddingsShard) -> Iterator[pa.Table]:
        """Densities and what is read off them."""
        fitted = _calibrated(self.using, self.using_sha256)
        card = artefact.read_card(self.using, "densities")
        every, known, first = np.ones(len(shard), bool), known_columns(shard), 0
        simulated = card.simulated or shard.card.simulated
        for columns, density in density_parts(
            fitted, shard, every, features=card.get("features", "embedding")
        ):
            some = slice(first, first + len(density))
            columns = {**columns, **{name: values[some] for name, values in known.items()}}
            first += len(density)
            yield density_rows(columns, density, simulated=simulated)


@dataclass(frozen=True)
class DwarfTiles(_OnEmbeddings):
    """Score every galaxy of a tile as a nearby dwarf, by a search that `dwarfs` has fitted."""

    WORK: ClassVar[str] = "dwarfs"

    def tables(self, shard: EmbeddingsShard) -> Iterator[pa.Table]:
        """``score`` and probabilities."""
        search = _search(self.using, self.using_sha256)
        place = {name: shard.column(name) for name in ("id", "ra", "dec")}
        columns = {**place, **known_columns(shard), **search.columns(shard)}
        used = artefact.read_card(self.using, "dwarfs")
        columns["simulated"] = np.full(len(shard), used.simulated or shard.card.simulated)
        yield pa.table({name: to_arrow(name, values) for name, values in columns.items()})


def known_columns(shard: EmbeddingsShard) -> dict[str, Array]:
    """Spectroscopic redshift (NaN for none), split, and row of each galaxy of a tile."""
    z = np.asarray(shard.column("z"), np.float64)
    return {
        "z_spec": np.where(usable_labels(z), z, np.nan),
        "split": shard.column("split").astype(str),
        "row": shard.column("row"),
    }
