"""How alike look-alikes are, measured by a thing the encoder never saw: redshift."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.errors import ConfigError
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index
from ssl_photoz.types import Ints


def measure_quality(
    index: Index,
    embeddings: Embeddings,
    *,
    k: int = 10,
    bin_width: float = 0.02,
    max_queries: int = 5000,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Score labelled test galaxies by the labelled train galaxies that look most like them.

    Redshifts are binned in ln(1+z), since retrieval scores need classes; a hit is a neighbour
    in the query's own bin. Queries whose bin holds no reference are left out of the scores.

    Args:
        index: Built from the embeddings.
        embeddings: With splits and redshifts.
        k: Neighbours looked at.
        bin_width: Width of a bin in ln(1+z).
        max_queries: At most this many test galaxies, drawn with ``seed``.
        seed: Of the draw.

    Returns:
        ``precision_at_1`` and ``precision_at_k``, mean fraction of hits; ``chance``, the same
        for neighbours drawn at random; ``queries``, ``references``, ``k``,
        ``bin_width_ln_1pz``. None where a split has no redshifts.

    Raises:
        ConfigError: If k is less than 1 or bin_width is not positive.
    """
    if k < 1 or bin_width <= 0:
        raise ConfigError(f"k is {k} and bin_width {bin_width}, expected k >= 1 and bin_width > 0")
    catalogue = Catalogue.read(embeddings)
    references = catalogue.rows_where("train", labelled=True)
    queries = _draw(catalogue.rows_where("test", labelled=True), max_queries, seed)
    if not len(references) or not len(queries):
        return None
    bins = np.full(len(catalogue), -1)
    labelled = np.isfinite(catalogue.z)
    bins[labelled] = np.floor(np.log1p(catalogue.z[labelled]) / bin_width)
    k = min(k, len(references))
    scores = _score(index, queries, references, bins, k=k)
    shares = [float(np.mean(bins[references] == one)) for one in bins[queries]]
    return {
        **scores,
        "chance": float(np.mean([share for share in shares if share > 0] or [0.0])),
        "queries": len(queries),
        "references": len(references),
        "k": k,
        "bin_width_ln_1pz": bin_width,
    }


def _score(
    index: Index, queries: Ints, references: Ints, bins: Ints, *, k: int
) -> dict[str, float | None]:
    from pytorch_metric_learning.utils import accuracy_calculator as pml

    class Calculator(pml.AccuracyCalculator):  # type: ignore[misc]
        def requires_knn(self) -> list[str]:
            return [*super().requires_knn(), "precision_at_k"]

        def calculate_precision_at_k(
            self,
            knn_labels: object,
            query_labels: object,
            not_lone_query_mask: object,
            **_: object,
        ) -> float:
            found, own = pml.try_getting_not_lone_labels(
                knn_labels, query_labels, not_lone_query_mask
            )
            if found is None:
                return float("nan")
            hits = self.label_comparison_fn(own[:, None], found)
            return float(hits[:, :k].float().mean())

    names = ("precision_at_1", "precision_at_k")
    scores = Calculator(include=names, k=k).get_accuracy(
        index.vectors(queries), bins[queries], index.vectors(references), bins[references]
    )
    return {name: float(scores[name]) if np.isfinite(scores[name]) else None for name in names}


def _draw(rows: Ints, count: int, seed: int) -> Ints:
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
