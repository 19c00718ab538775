"""How alike look-alikes are, measured by a thing the encoder never saw: redshift."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_photoz.core.types import Array, Bools, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index, exact_neighbours
from ssl_photoz.similarity.settings import QualityConfig

MARK = "CONTAMINATED: "
AT_1, AT_K = {"precision_at_1": "precision_at_1"}, {"precision_at_k": "precision_at_k"}
AT_R = {"r_precision": "r_precision", "map_at_r": "mean_average_precision_at_r"}
REFERENCES_PER_QUERY = 5


def measure_quality(
    index: Index,
    embeddings: Embeddings,
    config: QualityConfig = QualityConfig(),
    *,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Score labelled test galaxies by the labelled train galaxies that look most like them.

    Redshifts are binned in ln(1+z), since retrieval scores need classes; a hit is a neighbour
    in the query's own bin. Queries whose bin holds no reference are left out of the scores.

    Args:
        index: Built from the embeddings.
        embeddings: Store with splits and redshifts.
        config: How they are scored.
        seed: Seed of the draws; encoders of the same galaxies are then compared on the same ones.

    Returns:
        ``precision_at_1`` and ``precision_at_k``, mean fraction of hits; ``chance``, the same
        for neighbours drawn at random; ``queries``, ``references``, ``k``,
        ``bin_width_ln_1pz``. By the same bins ``r_precision``, the fraction of hits among the
        first R, and ``map_at_r``, mean average precision there [1], where R is the number of
        references in the query's bin. ``nearby``: ``queries``, ``chance``, ``precision_at_1``,
        ``r_precision`` and ``map_at_r`` of nearby queries, whose hits are nearby galaxies, and
        ``not_nearby`` the same of the others, None where there are none; ``z_max``.
        ``contaminated``: how many of the queries had their redshift shown to the encoder, by
        ``labels_seen`` on the card. None altogether where a split has no redshifts.

    References:
        [1] Musgrave, Belongie & Lim 2020, arXiv:2003.08505.
    """
    catalogue = Catalogue.read(embeddings)
    references = catalogue.rows_where("train", labelled=True)
    queries = _draw(catalogue.rows_where("test", labelled=True), config.max_queries, seed)
    if not len(references) or not len(queries):
        return None
    labelled = np.isfinite(catalogue.z)
    bins = np.full(len(catalogue), -1)
    bins[labelled] = np.floor(np.log1p(catalogue.z[labelled]) / config.bin_width)
    k = min(config.k, len(references))
    ranked = (
        _draw(queries, config.max_ranked, seed),
        _draw(references, REFERENCES_PER_QUERY * config.max_ranked, seed),
    )
    return {
        **_accuracy(index, AT_1 | AT_K, queries, references, bins, k=k),
        "chance": _chance(bins[queries], bins[references]),
        "queries": len(queries),
        "references": len(references),
        "k": k,
        "bin_width_ln_1pz": config.bin_width,
        **_accuracy(index, AT_R, *ranked, bins),
        "nearby": _of_side(index, *ranked, catalogue.z < config.z_max, side=True),
        "not_nearby": _of_side(index, *ranked, catalogue.z < config.z_max, side=False),
        "z_max": config.z_max,
        "contaminated": _contaminated(embeddings, catalogue.id[queries]),
    }


def quality_line(label: str, quality: dict[str, Any]) -> str:
    """One encoder's figures in one line, to be printed below those of another.

    An encoder that has learnt from the redshifts of the queries is marked CONTAMINATED.
    """

    def figure(name: str, scores: dict[str, Any] | None) -> str:
        value = scores and scores[name]
        return "    -" if value is None else f"{value:.3f}"

    near, mark = quality["nearby"], MARK if quality["contaminated"] else ""
    return (
        f"{mark}{label}: by redshift bin P@1 {figure('precision_at_1', quality)}, "
        f"R-precision {figure('r_precision', quality)}, MAP@R {figure('map_at_r', quality)}, "
        f"chance {figure('chance', quality)}; z < {quality['z_max']:g} "
        f"P@1 {figure('precision_at_1', near)}, R-precision {figure('r_precision', near)}, "
        f"MAP@R {figure('map_at_r', near)}, chance {figure('chance', near)}"
    )


def _accuracy(
    index: Index,
    names: dict[str, str],
    queries: Ints,
    references: Ints,
    classes: Array,
    *,
    k: int | None = None,
) -> dict[str, float | None]:
    """Retrieval scores, None where no query's class has a reference."""
    found = _calculator(tuple(names.values()), k).get_accuracy(
        index.vectors(queries),
        classes[queries].astype(int),
        index.vectors(references),
        classes[references].astype(int),
    )
    scores = {name: float(found[theirs]) for name, theirs in names.items()}
    return {name: score if np.isfinite(score) else None for name, score in scores.items()}


def _of_side(
    index: Index, queries: Ints, references: Ints, near: Bools, *, side: bool
) -> dict[str, Any] | None:
    mine, share = queries[near[queries] == side], float((near[references] == side).mean())
    if not len(mine) or not share:
        return None
    scores = _accuracy(index, AT_1 | AT_R, mine, references, near)
    return {**scores, "queries": len(mine), "chance": share}


def _calculator(names: tuple[str, ...], k: int | None) -> Any:  # noqa: ANN401 - has no types
    import torch
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

    def nearest(query: Any, count: int, reference: Any, _: bool) -> tuple[Any, Any]:  # noqa: ANN401
        distances, found = exact_neighbours(query.numpy(), reference.numpy(), count)
        return torch.from_numpy(distances), torch.from_numpy(found)

    return Calculator(
        include=names, k=k or "max_bin_count", knn_func=nearest, device=torch.device("cpu")
    )


def _chance(queries: Ints, references: Ints) -> float:
    classes, counts = np.unique(references, return_counts=True)
    share = dict(zip(classes.tolist(), (counts / len(references)).tolist(), strict=True))
    return float(np.mean([share[one] for one in queries.tolist() if one in share] or [0.0]))


def _contaminated(embeddings: Embeddings, ids: Array) -> int:
    seen = {str(one) for one in embeddings.card.labels_seen}
    return sum(str(one) in seen for one in ids.tolist())


def _draw(rows: Ints, count: int, seed: int) -> Ints:
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
