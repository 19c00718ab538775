"""Nearby galaxies: a frozen embedding against aperture photometry and photometric cuts.

    python -m benchmarks.dwarfs.compare EMBEDDINGS true_mag_r true_mag_g true_radius_arcsec

Five strips of right ascension are held out in turn; everything is fitted to three of the others and
set on the fourth. The scores of all five, each strip's brought to mean 0 and standard deviation 1,
are measured together, at z < 0.03 and z < 0.05. After the embeddings folder come the columns for
the cuts: r, g and, if known, half-light radius in arcsec. The encoder must not have seen any
redshift.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.redshift_ladder.photometry import photometry, rows_of
from ssl_photoz.catalog.lowz_cuts import select_lowz
from ssl_photoz.core.errors import ContaminatedError
from ssl_photoz.core.types import Bools, Doubles, Floats
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.heads import VoteHead, fit_logistic, fit_one_class, fit_perceptron
from ssl_photoz.nearby.purity import measure_purity, measure_selection
from ssl_photoz.photoz.labels import Labelled, read_labelled
from ssl_photoz.photoz.networks import MLP
from ssl_photoz.similarity.reduction import Reduction

LIMITS, STRIPS = (0.03, 0.05), 5
KS = (5, 10, 20, 40, 80)
CATALOGUE = ("true_mag_g", "true_mag_r", "true_mag_z", "true_radius_arcsec")
BASELINE = "aperture, redshift MLP"
HEADING = ("AP", "P@90C", "±", "C@20P", "sky P@90C", "±", "sky C@20P", "/ aperture", "/ cuts")
Method = Callable[[Labelled, Labelled, Labelled, float], Doubles]


def redshift_mlp(train: Labelled, val: Labelled, test: Labelled, _: float) -> Doubles:
    """Rank by photometric redshift, lowest first."""
    probe = MLP().fit(train.features, train.z, validation=(val.features, val.z))
    return -probe.predict(test.features)


def logistic(train: Labelled, val: Labelled, test: Labelled, z_max: float) -> Doubles:
    """Rank by the logistic head."""
    given = {"val_vectors": val.features, "val_labels": near(val, z_max)}
    return fit_logistic(train.features, near(train, z_max), **given).score(test.features)[:, 0]


def mlp(train: Labelled, val: Labelled, test: Labelled, z_max: float) -> Doubles:
    """Rank by the perceptron head."""
    head = fit_perceptron(
        *(train.features, near(train, z_max)),
        val_vectors=val.features,
        val_labels=near(val, z_max),
    )
    return head.score(test.features)[:, 0]


def one_class(train: Labelled, val: Labelled, test: Labelled, z_max: float) -> Doubles:
    """Rank by the one-class head; the labelled galaxies, less their labels, are its background."""
    background = np.concatenate([train.features, val.features])
    given = {"val_vectors": val.features, "val_labels": near(val, z_max)}
    head = fit_one_class(train.features, near(train, z_max), background=background, **given)
    return head.score(test.features)[:, 0]


def vote(train: Labelled, val: Labelled, test: Labelled, z_max: float) -> Doubles:
    """Rank by the votes of neighbours."""
    units = Reduction.fit(train.features, pca_dim=128).apply
    given = {"val_units": units(val.features), "val_labels": near(val, z_max)}
    head = VoteHead.fit(units(train.features), near(train, z_max), ks=KS, **given)
    return head.score(units(test.features))[:, 0]


def near(some: Labelled, z_max: float) -> Floats:
    """Labels, shape (n, 1)."""
    return (some.z < z_max)[:, None].astype(np.float32)


METHODS: dict[str, tuple[Method, ...]] = {
    "embedding": (vote, one_class, logistic, mlp, redshift_mlp),
    "aperture": (one_class, logistic, mlp, redshift_mlp),
    "both": (logistic, redshift_mlp),
    "catalogue": (logistic, mlp, redshift_mlp),
}


def read(embeddings: Embeddings) -> dict[str, Labelled]:
    """All labelled galaxies, in one order, by the features they are seen through."""
    seen = {}
    for features in ("embedding", "aperture", "both"):
        splits = read_labelled(embeddings, features=features)
        if set(CATALOGUE) <= set(embeddings.columns) and features == "aperture":
            seen["catalogue"] = _joined(photometry(embeddings, splits, CATALOGUE, seed=0))
        seen[features] = _joined(splits)
    return {features: seen[features] for features in METHODS if features in seen}


def _joined(splits: dict[str, Labelled]) -> Labelled:
    parts = list(splits.values())
    names = ("features", "z", "id", "ra", "dec")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)


def scores_of(seen: Labelled, method: Method, z_max: float) -> Doubles:
    """Score every galaxy by what was fitted elsewhere on the sky, shape (n,)."""
    edges = np.quantile(seen.ra, np.arange(1, STRIPS) / STRIPS)
    strip, scores = np.searchsorted(edges, seen.ra, side="right"), np.empty(len(seen))
    for held in range(STRIPS):
        test, val = strip == held, strip == (held + 1) % STRIPS
        train = ~(test | val)
        found = method(seen.take(train), seen.take(val), seen.take(test), z_max)
        scores[test] = (found - found.mean()) / found.std()
    return scores


def print_table(
    truth: Bools, scores: dict[str, Doubles], selected: Bools | None, z_max: float
) -> None:
    """Print a row per method."""
    measured = {name: measure_purity(truth, score) for name, score in scores.items()}
    cuts = None if selected is None else measure_selection(truth, selected)
    print(f"\nz < {z_max:g}: {truth.sum()} of {len(truth)} galaxies\n")
    print("| method |" + "".join(f" {word} |" for word in HEADING))
    print("|---|" + "---:|" * len(HEADING))
    at, baseline = "sky_purity_at_90_completeness", measured[BASELINE]
    for name, one in measured.items():
        over = one[at] / cuts["sky_purity"] if cuts and cuts["sky_purity"] else float("nan")
        figures = (
            *(one["average_precision"], one["purity_at_90_completeness"]),
            *(one["purity_at_90_completeness_error"], one["completeness_at_20_purity"]),
            *(one[at], one[f"{at}_error"], one["sky_completeness_at_20_purity"]),
            *(one[at] / baseline[at], over),
        )
        print(f"| {name} |" + "".join(f" {figure:.3f} |" for figure in figures))
    if cuts:
        print(
            f"| cuts, at completeness {cuts['completeness']:.3f} | | {cuts['purity']:.3f} | "
            f"{cuts['purity_error']:.3f} | | {cuts['sky_purity']:.3f} | "
            f"{cuts['sky_purity_error']:.3f} | | {cuts['sky_purity'] / baseline[at]:.3f} | 1.000 |"
        )


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    embeddings = Embeddings.open(Path(arguments[0]))
    if embeddings.card.get("labels_seen"):
        raise ContaminatedError(f"the encoder of {arguments[0]} has seen redshifts; give another")
    print("SIMULATED galaxies" if embeddings.card["simulated"] else "galaxies of the sky")
    seen, selected = read(embeddings), None
    if arguments[1:]:
        rows = rows_of(embeddings, seen["embedding"])
        r_mag, g_mag, *radius = (embeddings.column(name)[rows] for name in arguments[1:])
        selected = select_lowz(r_mag, g_mag - r_mag, radius[0] if radius else None).selected
    for z_max in LIMITS:
        scores = {
            f"{features}, {method.__name__.replace('_mlp', ' MLP').replace('_', '-')}": scores_of(
                seen[features], method, z_max
            )
            for features in seen
            for method in METHODS[features]
        }
        print_table(seen["embedding"].z < z_max, scores, selected, z_max)


if __name__ == "__main__":
    main(sys.argv[1:])
