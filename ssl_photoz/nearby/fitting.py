"""Fit the methods on the train split, choose and calibrate them on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Bools, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.heads import (
    Head,
    VoteHead,
    average_precision,
    fit_kernel,
    fit_logistic,
    fit_one_class,
    fit_perceptron,
    known_answers,
)
from ssl_photoz.nearby.purity import COMPLETENESS
from ssl_photoz.nearby.search import (
    KERNEL,
    LOGISTIC,
    METHODS,
    ONE_CLASS,
    PERCEPTRON,
    VOTE,
    DwarfSearch,
    best_of,
    calibrate,
)
from ssl_photoz.nearby.settings import ClassifierConfig
from ssl_photoz.nearby.truth import Truth
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_faiss import products_in_one_thread
from ssl_photoz.similarity.reduction import take_vectors

BACKGROUND = 20_000
VALIDATION = 20_000


class Sample(NamedTuple):
    """Galaxies a head is fitted to, or set on: embeddings, unit vectors and labels (n, T)."""

    vectors: Floats
    units: Floats
    labels: Floats

    def of(self, method: str) -> Floats:
        """What a method reads."""
        return self.units if method == VOTE else self.vectors


@products_in_one_thread()
def fit_dwarf_search(
    embeddings: Embeddings,
    catalogue: Catalogue,
    index: Index,
    truth: Truth,
    config: ClassifierConfig = ClassifierConfig(),
) -> DwarfSearch:
    """Fit every method; no label of the test split is looked at.

    Where no train galaxy is known to be unwanted, only ``one_class`` can be fitted. Questions
    other than the first are dropped if train lacks one of the two answers.

    Args:
        embeddings: Store with splits.
        catalogue: Catalogue of the embeddings.
        index: Index of the embeddings, whose unit vectors votes compare.
        truth: Known answers.
        config: How they are fitted.

    Raises:
        ConfigError: If a method is unknown.
        DataError: If no train galaxy is wanted.
    """
    if not set(config.methods) <= set(METHODS):
        raise ConfigError(
            f"methods is {list(config.methods)}, expected some of {', '.join(METHODS)}"
        )
    train = truth.rows(catalogue.split == "train")
    _require_wanted(truth, catalogue, train)
    methods, truth = _possible(config.methods, truth, train)
    rng = np.random.default_rng(config.seed)
    train = _thin(train, truth.labels[train, 0] == 1, config.max_train, rng)
    val = _draw(truth.rows(catalogue.split == "val"), VALIDATION, rng)
    background = _draw(np.arange(len(catalogue)), BACKGROUND, rng)
    vectors = _take(embeddings, train, val, background)
    fitted = Sample(vectors[0], index.vectors(train), truth.labels[train])
    held = Sample(vectors[1], index.vectors(val), truth.labels[val])
    fitters = _fitters(fitted, held, vectors[2], ks=config.ks, seed=config.seed)
    heads = {method: fitters[method]() for method in tqdm(methods, desc="fitting methods")}
    return _calibrated(truth.names, heads, fitted, held)


def _fitters(
    fitted: Sample,
    held: Sample,
    background: Floats,
    *,
    ks: Sequence[int],
    seed: int,
) -> dict[str, Callable[[], Head]]:
    vectors, units, labels = fitted
    val = {"val_vectors": held.vectors, "val_labels": held.labels}
    near = {"val_units": held.units, "val_labels": held.labels}
    return {
        VOTE: lambda: VoteHead.fit(units, labels, ks=ks, **near),
        LOGISTIC: lambda: fit_logistic(vectors, labels, **val),
        KERNEL: lambda: fit_kernel(vectors, labels, seed=seed, **val),
        PERCEPTRON: lambda: fit_perceptron(
            vectors, labels, val_vectors=held.vectors, val_labels=held.labels, seed=seed
        ),
        ONE_CLASS: lambda: fit_one_class(vectors, labels, background=background, **val),
    }


def _calibrated(
    names: tuple[str, ...], heads: Mapping[str, Head], fitted: Sample, held: Sample
) -> DwarfSearch:
    scores = {method: head.score(held.of(method)) for method, head in heads.items()}
    calibrations = {
        method: [
            calibrate(*known_answers(held.labels[:, t], score[:, t])) for t in range(len(names))
        ]
        for method, score in scores.items()
    }
    wanted = held.labels[:, 0] == 1
    precision = {m: average_precision(held.labels[:, 0], s[:, 0]) for m, s in scores.items()}
    best = best_of(precision)
    tells = precision[best] is not None
    reached = (
        scores[best][wanted, 0]
        if wanted.any()
        else heads[best].score(fitted.of(best)[fitted.labels[:, 0] == 1])[:, 0]
    )
    threshold = float(np.quantile(reached, 1 - COMPLETENESS))
    rate = float(wanted.mean()) if tells else None
    return DwarfSearch(names, heads, calibrations, precision, rate, threshold)


def _require_wanted(truth: Truth, catalogue: Catalogue, train: Ints) -> None:
    if (truth.labels[train, 0] == 1).any():
        return
    z = catalogue.z[catalogue.rows_where("train", labelled=True)]
    lowest = f"the lowest redshift is {z.min():.4f}" if len(z) else "none has a redshift"
    raise DataError(
        f"none of {len(z)} labelled train galaxies is wanted ({truth.says[0]}); {lowest}; raise "
        f"z_max=, add redshifts, or give verdicts="
    )


def _possible(methods: Sequence[str], truth: Truth, train: Ints) -> tuple[Sequence[str], Truth]:
    """Drop what cannot be fitted: methods without negatives, questions with one answer only."""
    labels = truth.labels[train]
    both = ((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).tolist()
    kept = [name for t, name in enumerate(truth.names) if both[t] or t == 0]
    return (methods if both[0] else (ONE_CLASS,)), truth.restricted_to(kept)


def _thin(rows: Ints, wanted: Bools, count: int, rng: np.random.Generator) -> Ints:
    """At most ``count`` rows: the wanted ones first, up to half of them, then others."""
    few = min(int(wanted.sum()), max(count // 2, count - int((~wanted).sum())))
    kept = _draw(rows[wanted], few, rng), _draw(rows[~wanted], count - few, rng)
    return np.sort(np.concatenate(kept))


def _draw(rows: Ints, count: int, rng: np.random.Generator) -> Ints:
    return rows if len(rows) <= count else np.sort(rng.choice(rows, count, replace=False))


def _take(embeddings: Embeddings, *parts: Ints) -> list[Floats]:
    """Embeddings of several lists of rows, read in one pass."""
    known = np.unique(np.concatenate(parts))
    vectors: Array = take_vectors(embeddings, known)
    return [vectors[np.searchsorted(known, rows)] for rows in parts]
