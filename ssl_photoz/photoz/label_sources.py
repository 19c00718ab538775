"""Labels of several tables for the galaxies of one embeddings folder: matched, compared, merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.catalog.catalogue import Catalogue, read_catalogue
from ssl_photoz.catalog.columns import ROW_NUMBERS, Roles
from ssl_photoz.catalog.identity import IDENTITY_ARCSEC, Identity, find_galaxies, same_galaxy
from ssl_photoz.catalog.redshifts import numbers_of, read_redshifts
from ssl_photoz.catalog.sky import nearest_rows
from ssl_photoz.catalog.tables import read_table, write_table
from ssl_photoz.core import artefact
from ssl_photoz.core.artefact import Card, Fact, Finished
from ssl_photoz.core.config import load_yaml
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Bools, Doubles, Ints, PathLike
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.settings import LABEL_KINDS, LabelKind

TRUST: dict[LabelKind, float] = {"spectroscopic": 1.0, "verdict": 0.5, "photometric": 0.3}
SPECTROSCOPIC_ERROR = 1e-4  # of 1 + z, where a spectroscopic source states none: 30 km/s
CONTRADICTION = 0.01  # of 1 + z, or three times their errors together
TABLE = "labels.parquet"
CONFLICTS = "conflicts.parquet"


@dataclass(frozen=True)
class LabelSource:
    """A table of labels, and what its columns mean.

    Attributes:
        name: What the source is called.
        kind: ``spectroscopic``; ``photometric``, estimates from many bands; or ``verdict``, what a
            person said.
        table: Parquet, FITS, CSV or VOTable; the embeddings' own columns if None.
        redshift: Column of redshifts, or of the words of verdicts.
        words: Redshift that each word of a verdict stands for; other words are no label.
        error: Column of the error of z, or a number, the error of z / (1 + z). Spectroscopic
            sources without one are taken to be right to 1e-4.
        quality: Column that says which labels count.
        good: Values of that column that do.
        trust: Which of two labels of a galaxy is taken: that of the greater trust.
        match: ``id``, where both tables have the same, or ``position``.
        radius_arcsec: Greatest distance on the sky, for ``position``.
        id: Column of ids; guessed by default.
        ra: Column of right ascension, degrees; guessed by default.
        dec: Column of declination, degrees; guessed by default.
    """

    name: str
    kind: LabelKind
    table: Path | None = None
    redshift: str = "z"
    words: Mapping[str, float] | None = None
    error: str | float | None = None
    quality: str | None = None
    good: tuple[Any, ...] = ()
    trust: float | None = None
    match: str = "id"
    radius_arcsec: float = 1.0
    id: str | None = None
    ra: str | None = None
    dec: str | None = None

    def __post_init__(self) -> None:
        what = f"label source {self.name!r}"
        if self.kind not in LABEL_KINDS:
            raise ConfigError(f"{what}: kind {self.kind!r}, expected {', '.join(LABEL_KINDS)}")
        if self.error is None and self.kind != "spectroscopic":
            raise ConfigError(
                f"{what} is {self.kind} and has no errors; give error=, a column or a number such "
                f"as 0.03, the error of z / (1 + z)"
            )
        if isinstance(self.error, int | float) and not 0 < self.error < 1:
            raise ConfigError(f"{what}: error {self.error}, expected a part of 1 + z below 1")
        if (self.quality is None) != (not self.good):
            raise ConfigError(f"{what}: give quality= and the values good= that count, or neither")
        if self.match not in ("id", "position"):
            raise ConfigError(f"{what}: match {self.match!r}, expected id or position")
        if not 0 < self.radius_arcsec <= IDENTITY_ARCSEC:
            raise ConfigError(
                f"{what}: radius_arcsec {self.radius_arcsec}, expected 0 to {IDENTITY_ARCSEC:g}"
            )

    @property
    def ranked(self) -> float:
        """Trust, that of its kind by default."""
        return TRUST[self.kind] if self.trust is None else self.trust


def read_sources(path: PathLike) -> list[LabelSource]:
    """Sources of a YAML: a list under the key ``sources``; tables stand relative to the file.

    Raises:
        ConfigError: If the file is no such list, or an entry cannot be meant.
    """
    path = Path(path)
    entries = load_yaml(path).get("sources")
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ConfigError(
            f"{path}: expected a key `sources` with a list of tables, each with name, kind ..."
        )
    sources = [_source(path, entry) for entry in entries]
    names = [source.name for source in sources]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{path}: sources {names}, expected at least one, and no name twice")
    return sources


def _source(path: Path, entry: dict[str, Any]) -> LabelSource:
    known = {field.name for field in fields(LabelSource)}
    name = entry.get("name", "without a name")
    if wrong := entry.keys() - known:
        raise ConfigError(
            f"{path}, source {name}: unknown {', '.join(sorted(map(str, wrong)))}; expected of "
            f"{', '.join(sorted(known))}"
        )
    if missing := {"name", "kind"} - entry.keys():
        raise ConfigError(f"{path}, source {name}: {' and '.join(sorted(missing))} missing")
    given = dict(entry)
    if given.get("table") is not None:
        given["table"] = path.parent / given["table"]
        if not given["table"].exists():
            raise ConfigError(f"{path}, source {name}: no table {given['table']}")
    good = given.get("good", ())
    given["good"] = tuple(good) if isinstance(good, list | tuple) else (good,)
    return LabelSource(**given)


@dataclass(frozen=True)
class Labels:
    """The best label of each galaxy of an embeddings folder, row by row.

    Attributes:
        z: Redshifts, shape (N,); NaN where there is none.
        z_error: Their errors, shape (N,).
        trust: Trust in them, shape (N,); 0 where there is none.
        source: Number of the source, shape (N,); -1 where there is none.
        sources: Names of the sources.
        kinds: Their kinds.
        account: For each source: rows read, ``good`` ones, ``matched``, ``taken``.
        conflicts: Columns of the contradictions: ``id``, ``z``, ``source``, ``z_other``,
            ``source_other``, and which was ``taken``.
    """

    z: Doubles
    z_error: Doubles
    trust: Doubles
    source: Ints
    sources: tuple[str, ...]
    kinds: tuple[LabelKind, ...]
    account: dict[str, dict[str, int]]
    conflicts: dict[str, Array]

    @property
    def spectroscopic(self) -> Bools:
        """Which labels are spectroscopic, shape (N,)."""
        return np.isin(self.source, [k for k, kind in enumerate(self.kinds) if kind[0] == "s"])

    def summary(self) -> str:
        """What was read, matched and taken, and what contradicts what."""
        lines = [
            f"{name} ({kind}): {self.account[name]['good']} good of {self.account[name]['rows']} "
            f"rows, {self.account[name]['matched']} matched, {self.account[name]['taken']} taken"
            for name, kind in zip(self.sources, self.kinds, strict=True)
        ]
        count = len(self.conflicts["id"])
        left = int((self.conflicts["taken"] == "").sum())
        lines.append(
            f"{count} contradictions; {left} of equal trust and error, where neither was taken"
        )
        return "; ".join(lines)


def collect_labels(embeddings: Embeddings, sources: list[LabelSource]) -> Labels:
    """Read every source, match it to the embeddings, and take the best label of each galaxy.

    Of two labels of a galaxy that of greater trust is taken, then that of the smaller error. They
    contradict each other where they differ by more than 0.01 (1 + z) and by more than three times
    their errors together; two that are equal in trust and error, and contradict, are both left out.

    Raises:
        DataError: If a column is missing, a source has no good row, or none matches.
    """
    own = tuple(embeddings.column(name) for name in ("id", "ra", "dec"))
    galaxy = same_galaxy(own[0], own[1], own[2])
    found = [_read(source, embeddings, (own[0], own[1], own[2])) for source in sources]
    account = {
        source.name: {"rows": one.rows, "good": one.good, "matched": len(one.row)}
        for source, one in zip(sources, found, strict=True)
    }
    number = np.concatenate([np.full(len(one.row), k) for k, one in enumerate(found)])
    row, z, error = (
        np.concatenate([getattr(one, name) for one in found]) for name in ("row", "z", "error")
    )
    trust = np.array([source.ranked for source in sources])[number]
    order = np.lexsort((np.arange(len(row)), number, error, -trust, galaxy[row]))
    row, z, error, trust, number = (a[order] for a in (row, z, error, trust, number))
    first = np.flatnonzero(np.diff(galaxy[row], prepend=-1))
    best = np.repeat(first, np.diff(np.append(first, len(row))))
    apart = np.abs(z - z[best])
    against = apart > np.maximum(CONTRADICTION * (1 + z[best]), 3 * np.hypot(error, error[best]))
    level = against & (trust == trust[best]) & (error == error[best])
    neither = np.zeros(len(row), bool)
    neither[best[level]] = True
    names = np.array([source.name for source in sources])
    taken = np.where(neither[best], "", names[number[best]])
    conflicts = {
        "id": own[0][row][against],
        "z": z[best][against],
        "source": names[number[best]][against],
        "z_other": z[against],
        "source_other": names[number][against],
        "taken": taken[against],
    }
    kept = first[~neither[first]]
    of_galaxy = np.full(int(galaxy.max(initial=-1)) + 1, -1)
    of_galaxy[galaxy[row[kept]]] = kept
    place = of_galaxy[galaxy]
    has = place >= 0
    for k, source in enumerate(sources):
        account[source.name]["taken"] = int((number[kept] == k).sum())
    return Labels(
        z=np.where(has, z[place], np.nan),
        z_error=np.where(has, error[place], np.nan),
        trust=np.where(has, trust[place], 0.0),
        source=np.where(has, number[place], -1),
        sources=tuple(source.name for source in sources),
        kinds=tuple(source.kind for source in sources),
        account=account,
        conflicts=conflicts,
    )


@dataclass(frozen=True)
class _Read:
    """Good labels of a source: row of the embeddings, redshift, error; and counts."""

    row: Ints
    z: Doubles
    error: Doubles
    rows: int
    good: int


def _read(source: LabelSource, embeddings: Embeddings, own: Identity) -> _Read:
    what = f"label source {source.name!r}"
    catalogue: Catalogue | None = None
    if source.table is not None:
        roles = Roles(id=source.id, ra=source.ra, dec=source.dec)
        catalogue = read_catalogue(source.table, roles)
        if source.match == "id" and catalogue.ids_from == ROW_NUMBERS:
            raise DataError(f"{what}: {source.table} has no ids; say id=, or match=position")

    def column(name: str) -> Array:
        if catalogue is None:
            return embeddings.column(name)
        values = catalogue.find(name)
        if values is None:
            raise DataError(
                f"{what}: {source.table} has no column {name!r}; it has "
                f"{', '.join(catalogue.columns)}"
            )
        return values

    z = _redshifts(source, column(source.redshift))
    error = _errors(source, z, column)
    good = usable_labels(z) & np.isfinite(error) & (error > 0)
    if source.quality is not None:
        good &= _counts(column(source.quality), source.good)
    if not good.any():
        with_z, with_error = (int(one.sum()) for one in (usable_labels(z), error > 0))
        also = f", and {source.quality} in {list(source.good)}" if source.quality else ""
        raise DataError(
            f"{what}: none of {len(z)} rows is good; expected a redshift above 0 ({with_z} rows), "
            f"an error above 0 ({with_error} rows){also}"
        )
    if catalogue is None:
        row = np.arange(len(z))
    elif source.match == "id":
        row = find_galaxies(own, (catalogue.ids, catalogue.ra, catalogue.dec))
    else:
        placed = np.isfinite(catalogue.ra) & np.isfinite(catalogue.dec)
        row = np.full(len(z), -1)
        there = catalogue.ra[placed], catalogue.dec[placed]
        near, away = nearest_rows(own[1], own[2], *there)
        row[placed] = np.where(away <= source.radius_arcsec, near, -1)
    some = good & (row >= 0)
    if not some.any():
        raise DataError(
            f"{what}: none of its {int(good.sum())} good labels is of a galaxy of "
            f"{embeddings.folder}, matched by {source.match}; expected the same sky, and the same "
            f"ids where match is id"
        )
    return _Read(row[some], z[some], error[some], len(z), int(good.sum()))


def _redshifts(source: LabelSource, values: Array) -> Doubles:
    if source.words is None:
        return read_redshifts(values).z
    stands_for = {str(word): float(z) for word, z in source.words.items()}
    return np.array([stands_for.get(str(word).strip(), np.nan) for word in values.tolist()])


def _errors(source: LabelSource, z: Doubles, column: Any) -> Doubles:  # noqa: ANN401 - a function
    if isinstance(source.error, str):
        return numbers_of(column(source.error))[0]
    part = SPECTROSCOPIC_ERROR if source.error is None else float(source.error)
    return part * (1 + z)


def _counts(quality: Array, good: tuple[Any, ...]) -> Bools:
    """Which rows have one of the values; numbers are compared as numbers, all else as text."""
    if quality.dtype.kind in "biuf":
        return np.isin(quality.astype(np.float64), numbers_of(np.array(good, dtype=object))[0])
    words = {str(one).strip() for one in good}
    return np.array([str(one).strip() in words for one in quality.tolist()], dtype=bool)


class LabelsCard(Card):
    """What the card of a folder of merged labels says.

    Attributes:
        labels: Number of labelled galaxies.
        sources: Name of each source to its ``kind``, ``trust``, rows read, good, matched, taken.
        contradictions: Number of labels that contradict the one that was taken.
    """

    labels = Fact(int)
    sources = Fact(dict[str, dict[str, Any]])
    contradictions = Fact(int)


class LabelsFolder(Finished[LabelsCard]):
    """Merged labels: ``labels.parquet``, ``conflicts.parquet`` and a card."""

    KIND, CARD = "labels", LabelsCard

    def table(self) -> dict[str, Array]:
        """Columns ``id``, ``ra``, ``dec``, ``z``, ``z_error``, ``kind``, ``trust``, ``source``."""
        return read_table(self.folder / TABLE)

    def conflicts(self) -> dict[str, Array]:
        """Columns ``id``, ``z``, ``source``, ``z_other``, ``source_other``, ``taken``."""
        return read_table(self.folder / CONFLICTS)


def merge_labels(
    embeddings: PathLike | Embeddings, sources: PathLike | list[LabelSource], out: PathLike
) -> LabelsFolder:
    """Merge the labels of several tables into one, the best label of each galaxy.

    Args:
        embeddings: Embeddings folder, whose galaxies are labelled.
        sources: YAML of label sources, or the sources.
        out: Folder to write.

    Returns:
        The folder: a table of labels, a table of contradictions, a card with counts.

    Raises:
        ConfigError: If a source cannot be meant, such as a photometric one without errors.
        DataError: If a column is missing, a source has no good row, or none matches.
        MismatchError: If the folder holds work made with other settings.
    """
    store, out = Embeddings.open(embeddings), Path(out)
    given = sources if isinstance(sources, list) else read_sources(sources)
    config = {"sources": [{k: v for k, v in vars(one).items() if k != "table"} for one in given]}
    parents = {"embeddings": store.sha256, **table_parents(given)}
    if artefact.already_made(out, "labels", config=config, parents=parents):
        print(f"{out} is already made")
        return LabelsFolder.open(out)
    labels = collect_labels(store, given)
    has = labels.source >= 0
    columns = {name: store.column(name)[has] for name in ("id", "ra", "dec")}
    columns |= {"z": labels.z[has], "z_error": labels.z_error[has]}
    columns["kind"] = np.array(labels.kinds)[labels.source[has]]
    columns["trust"] = labels.trust[has]
    columns["source"] = np.array(labels.sources)[labels.source[has]]
    simulated = store.card.simulated
    write_table(out / TABLE, columns, simulated=simulated)
    write_table(out / CONFLICTS, labels.conflicts, simulated=simulated)
    artefact.write_card(
        out,
        "labels",
        config=config,
        parents=parents,
        labels=int(has.sum()),
        sources={
            one.name: {"kind": one.kind, "trust": one.ranked, **labels.account[one.name]}
            for one in given
        },
        contradictions=len(labels.conflicts["id"]),
        simulated=simulated,
    )
    print(f"{int(has.sum())} of {len(store)} galaxies labelled: {labels.summary()}")
    return LabelsFolder.open(out)


def table_parents(sources: list[LabelSource]) -> dict[str, str]:
    """Checksum of the table of each source, for a card."""
    return {
        f"labels {one.name}": artefact.sha256_of(one.table)
        for one in sources
        if one.table is not None
    }


def read_labels(embeddings: Embeddings, path: PathLike) -> tuple[Labels, dict[str, str]]:
    """Labels of a YAML of sources, or of a folder that `merge_labels` wrote, and their parents.

    Raises:
        ConfigError: If the YAML cannot be meant.
        DataError: If labels and embeddings share no galaxy.
    """
    path = Path(path)
    if path.is_dir():
        folder = LabelsFolder.open(path)
        said = folder.card.sources
        table = folder.table()
        row = find_galaxies(
            (table["id"], table["ra"], table["dec"]),
            tuple(embeddings.column(name) for name in ("id", "ra", "dec")),  # type: ignore[arg-type]
        )
        has = row >= 0
        if not has.any():
            raise DataError(f"{path} labels no galaxy of {embeddings.folder}; merge them again")
        names = list(said)
        number = np.array([names.index(one) for one in table["source"].tolist()])
        return Labels(
            z=np.where(has, table["z"][row], np.nan),
            z_error=np.where(has, table["z_error"][row], np.nan),
            trust=np.where(has, table["trust"][row], 0.0),
            source=np.where(has, number[row], -1),
            sources=tuple(names),
            kinds=tuple(one["kind"] for one in said.values()),
            account={
                name: {key: one[key] for key in ("rows", "good", "matched", "taken")}
                for name, one in said.items()
            },
            conflicts=folder.conflicts(),
        ), {"labels": artefact.sha256_of(path)}
    sources = read_sources(path)
    return collect_labels(embeddings, sources), {
        "labels": artefact.sha256_of(path),
        **table_parents(sources),
    }
