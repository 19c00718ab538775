"""Look-alikes from Python; the program ``query`` asks through the same class.

search = Search.open(index="runs/mine/index", embeddings="runs/mine/embeddings")
answer = search.like_these([id_1, id_2], unlike=[id_3], where="mag_r < 20", k=50)
answer.ids, answer.distances, answer.table()
search.save(answer, "answer.fits")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ssl_photoz.catalog.where import cells_where, rows_where_in
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Array, Floats, Ints, PathLike
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue, find_id, find_position
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.lists import Listed, match_ids, read_list
from ssl_photoz.similarity.montage import save_answer
from ssl_photoz.similarity.query import NONE, LookAlikes, RelevanceFeedback, best_of, look_alikes
from ssl_photoz.similarity.settings import FeedbackConfig, MatchConfig

MAX_ANY = 1_000
Galaxies = PathLike | Sequence[int | str]


class Search:
    """Answers what looks like what, each object once and never the query itself.

    Every method takes ``k``, the galaxies wanted, and ``where``, a filter as
    `ssl_photoz.catalog.where.parse_where` takes it: only galaxies that pass are searched, so
    that k come back if k pass.

    Attributes:
        index: Index to search.
        embeddings: The store it was built from.
        catalogue: Catalogue of the rows.
    """

    def __init__(
        self, index: Index, embeddings: Embeddings, *, photoz: PathLike | None = None
    ) -> None:
        index.check_belongs(embeddings)
        self.index = index
        self.embeddings = embeddings
        catalogue = Catalogue.read(embeddings, index.columns)
        self.catalogue = catalogue if photoz is None else catalogue.with_photoz(Path(photoz))
        self._filtered: dict[str, Index] = {}

    @classmethod
    def open(
        cls,
        *,
        index: PathLike | Index,
        embeddings: PathLike | Embeddings,
        photoz: PathLike | None = None,
    ) -> Search:
        """Open an index and the embeddings it was built from.

        Args:
            index: Index folder.
            embeddings: Embeddings folder.
            photoz: A table that ``ssl-photoz predict`` wrote, for the column ``z_phot``.

        Raises:
            ArtefactError: If a folder is unfinished or damaged.
            MismatchError: If they do not belong together.
        """
        return cls(Index.load(index), Embeddings.open(embeddings), photoz=photoz)

    def like_id(self, wanted: int | str, *, k: int = 12, where: str | None = None) -> LookAlikes:
        """Find galaxies like the one with an id.

        Raises:
            DataError: If there is none.
        """
        row = find_id(self.embeddings, self.catalogue, str(wanted))
        return self.like_rows([row], k=k, where=where)[0]

    def like_position(
        self,
        ra: float,
        dec: float,
        *,
        matching: MatchConfig = MatchConfig(),
        k: int = 12,
        where: str | None = None,
    ) -> LookAlikes:
        """Find galaxies like one at a position.

        Args:
            ra: Right ascension, degrees.
            dec: Declination, degrees.
            matching: Choice among the galaxies there; the notes of the answer list them.
            k: Galaxies wanted.
            where: Filter.

        Raises:
            DataError: If there are fewer galaxies within the radius.
        """
        radius_arcsec, match = matching.radius_arcsec, matching.match
        rows, away = find_position(self.catalogue, ra, dec, radius_arcsec=radius_arcsec)
        if not 1 <= match <= len(rows):
            raise ConfigError(
                f"match is {match}, expected 1 to {len(rows)}: so many are within "
                f'{radius_arcsec:g}"'
            )
        answer = self.like_rows([int(rows[match - 1])], k=k, where=where)[0]
        if len(rows) == 1:
            return answer
        there = zip(self.catalogue.id[rows[:5]], away[:5], strict=True)
        listed = ", ".join(f'{one} ({arcsec:.2f}")' for one, arcsec in there)
        more = ", ..." if len(rows) > 5 else ""
        note = (
            f'{len(rows)} galaxies within {radius_arcsec:g}", nearest first: {listed}{more}; '
            f"number {match} was taken, match= takes another"
        )
        return replace(answer, notes=(note, *answer.notes))

    def like_rows(
        self, rows: Sequence[int] | Ints, *, k: int = 12, where: str | None = None
    ) -> list[LookAlikes]:
        """Answer for several rows of the store, in their order."""
        rows, among = np.asarray(rows, np.int64), self._among(where)
        answers = []
        for row, unit in zip(rows, self.index.vectors(rows), strict=True):
            own = np.array([row])
            found = best_of(among, self.catalogue, RelevanceFeedback.at(unit), k=k, leave_out=own)
            answers.append(self._noted(replace(found, query=int(row)), where))
        return answers

    def like_vector(
        self,
        vector: Floats,
        *,
        picture: Array | None = None,
        k: int = 12,
        where: str | None = None,
    ) -> LookAlikes:
        """Find galaxies like one from outside; if it is in the catalogue too, it finds itself.

        Args:
            vector: Its embedding, by the encoder that made the store, shape (D,).
            picture: Its picture, (H, W, 3) uint8, for the montage.
            k: Galaxies wanted.
            where: Filter.
        """
        answer = look_alikes(self._among(where), self.catalogue, vector, k=k)
        return self._noted(replace(answer, picture=picture), where)

    def like_these(
        self,
        galaxies: Galaxies,
        *,
        unlike: Galaxies | None = None,
        feedback: FeedbackConfig = FeedbackConfig(),
        matching: MatchConfig = MatchConfig(),
        k: int = 12,
        where: str | None = None,
    ) -> LookAlikes:
        """Find galaxies like some and, if wished, unlike others; none of them is an answer.

        Args:
            galaxies: Ids, or a table as `ssl_photoz.similarity.lists.read_list` takes it.
            unlike: Galaxies to keep away from, ids or a table.
            feedback: How likes and dislikes are combined.
            matching: How a table is matched to the catalogue.
            k: Galaxies wanted.
            where: Filter.

        Raises:
            ConfigError: If mode is ``any`` and the list is longer than 1,000.
            DataError: If a list cannot be used; says why.
        """
        likes = self._listed(galaxies, matching)
        unlikes = Listed(NONE, ()) if unlike is None else self._listed(unlike, matching)
        if feedback.mode == "any" and len(likes.rows) > MAX_ANY:
            raise ConfigError(
                f"mode is any and the list has {len(likes.rows)} galaxies, expected at most "
                f"{MAX_ANY}; give a shorter list, or mode=centroid"
            )
        away = self.index.vectors(unlikes.rows) if len(unlikes.rows) else None
        wanted = RelevanceFeedback.combine(self.index.vectors(likes.rows), away, feedback)
        own = np.concatenate([likes.rows, unlikes.rows])
        answer = best_of(self._among(where), self.catalogue, wanted, k=k, leave_out=own)
        absent = (*likes.absent, *unlikes.absent)
        notes = [f"{len(absent)} listed galaxies are not here: {_some(absent)}"] if absent else []
        if away is not None:
            weight = feedback.unlike_weight
            notes.append(f"distance = 1 - (cosine to likes - {weight:g} cosine to dislikes)")
        answer = replace(answer, likes=likes.rows, unlikes=unlikes.rows, notes=tuple(notes))
        return self._noted(answer, where)

    def save(self, answer: LookAlikes, out: PathLike) -> Path:
        """Write an answer as a table, and its pictures beside it; return the pictures' path."""
        return save_answer(Path(out), self.embeddings, answer)

    def column(self, name: str, start: int = 0, end: int | None = None) -> Array:
        """Column that a filter may name, shape (n,): the store's, z_spec, z_phot ...

        Args:
            name: Name of it.
            start: First row.
            end: Row behind the last; all by default.

        Raises:
            ArtefactError: If there is no such column.
            ConfigError: If it holds more than one value per galaxy.
        """
        own = {"z_spec": self.catalogue.z, **self.catalogue.photoz, **self.index.columns}
        values = own[name][start:end] if name in own else self._stored(name, start, end)
        if values.ndim != 1:
            raise ConfigError(f"where: column {name} holds {values.shape[1]} values per galaxy")
        return values

    def _stored(self, name: str, start: int, end: int | None) -> Array:
        """Some rows of a column of the store, reading only the files that hold them."""
        end = len(self.embeddings) if end is None else end
        parts, first = [self.embeddings.shards[0].column(name)[:0]] if start >= end else [], 0
        for shard in self.embeddings.shards:
            last = first + len(shard)
            if first < end and last > start:
                parts.append(shard.column(name)[max(0, start - first) : end - first])
            first = last
        return np.concatenate(parts)

    def _among(self, where: str | None) -> Index:
        """Index over the galaxies that pass; the last one is kept."""
        if where is None:
            return self.index
        if where not in self._filtered:
            spans = self.index.spans(cells_where(where)) or [(0, 0)]
            parts = ((start, partial(self.column, start=start, end=end)) for start, end in spans)
            self._filtered = {where: self.index.restricted_to(rows_where_in(where, parts))}
        return self._filtered[where]

    def _noted(self, answer: LookAlikes, where: str | None) -> LookAlikes:
        if where is None:
            return answer
        note = f"among the {len(self._among(where))} of {len(self.catalogue)} with {where}"
        return replace(answer, notes=(*answer.notes, note))

    def _listed(self, galaxies: Galaxies, matching: MatchConfig) -> Listed:
        if isinstance(galaxies, str | Path):
            return read_list(Path(galaxies), self.catalogue, matching)
        return match_ids(np.array(galaxies), self.catalogue, matching)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
