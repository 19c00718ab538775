"""Nearby galaxies: a frozen embedding against aperture photometry and photometric cuts.

    python benchmarks/dwarfs/compare.py EMBEDDINGS true_mag_r true_mag_g true_radius_arcsec

Everything is fitted to the labelled train galaxies, set on the validation galaxies and measured
once on the test galaxies, at z < 0.03 and z < 0.05. After the embeddings folder come columns for
the cuts: r, g and, if known, half-light radius in arcsec.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.redshift import mlp
from ssl_photoz.redshift.contamination import refuse_contaminated
from ssl_photoz.redshift.labels import Labelled, read_labelled
from ssl_photoz.redshift.lowz_cuts import select_lowz
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.dwarf_fitting import fit_dwarf_search
from ssl_photoz.similarity.dwarf_heads import Head, fit_logistic, fit_perceptron
from ssl_photoz.similarity.dwarfs import METHODS
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.purity import measure_purity, measure_selection
from ssl_photoz.similarity.truth import read_truth
from ssl_photoz.types import Bools, Doubles

LIMITS = (0.03, 0.05)
RIVAL = "aperture, redshift MLP"
HEADING = ("AP", "P@90C", "±", "C@20P", "sky P@90C", "±", "sky C@20P", "/ aperture", "/ cuts")


def scores_at(embeddings: Embeddings, z_max: float) -> tuple[Bools, dict[str, Doubles]]:
    """Return the truth of the test galaxies, shape (n,), and every method's scores of them."""
    catalogue, truth = Catalogue.read(embeddings), read_truth(embeddings, z_max=z_max)
    index = Index.build(embeddings)
    test = truth.rows(catalogue.split == "test")
    search = fit_dwarf_search(
        embeddings, catalogue, index, truth, methods=METHODS, max_train=100_000
    )
    found = search.score(embeddings, index, test)
    scores = {f"embedding, {method}": found[method][:, 0] for method in METHODS}
    scores["embedding, as the list is ranked"] = found[search.ranked_by][:, 0]
    for features in ("embedding", "aperture", "both"):
        splits = read_labelled(embeddings, features=features)
        scores[f"{features}, redshift MLP"] = -_redshifts(splits)
        if features != "embedding":
            scores |= {f"{features}, {name}": s for name, s in _heads(splits, z_max).items()}
    return truth.labels[test, 0] == 1, scores


def _redshifts(splits: dict[str, Labelled]) -> Doubles:
    train, val, test = (splits[name] for name in ("train", "val", "test"))
    probe = mlp.MLP.fit(train.features, train.z, val_features=val.features, val_z=val.z)
    return probe.predict(test.features).z_phot


def _heads(splits: dict[str, Labelled], z_max: float) -> dict[str, Doubles]:
    labels = {name: (some.z < z_max)[:, None].astype(np.float32) for name, some in splits.items()}
    test = splits["test"].features
    fitted: dict[str, Any] = {
        "vectors": splits["train"].features,
        "labels": labels["train"],
        "val_vectors": splits["val"].features,
        "val_labels": labels["val"],
    }
    heads: dict[str, Head] = {
        "logistic": fit_logistic(**fitted),
        "mlp": fit_perceptron(**fitted),
    }
    return {name: head.score(test)[:, 0] for name, head in heads.items()}


def print_table(
    truth: Bools, scores: dict[str, Doubles], selected: Bools | None, z_max: float
) -> None:
    """Print a row per method, best last column first."""
    measured = {name: measure_purity(truth, score) for name, score in scores.items()}
    cuts = None if selected is None else measure_selection(truth, selected)
    print(f"\nz < {z_max:g}: {truth.sum()} of {len(truth)} test galaxies\n")
    print("| method |" + "".join(f" {word} |" for word in HEADING))
    print("|---|" + "---:|" * len(HEADING))
    at, rival = "sky_purity_at_90_completeness", measured[RIVAL]
    for name, one in measured.items():
        over = one[at] / cuts["sky_purity"] if cuts and cuts["sky_purity"] else float("nan")
        figures = (
            *(one["average_precision"], one["purity_at_90_completeness"]),
            *(one["purity_at_90_completeness_error"], one["completeness_at_20_purity"]),
            *(one[at], one[f"{at}_error"], one["sky_completeness_at_20_purity"]),
            *(one[at] / rival[at], over),
        )
        print(f"| {name} |" + "".join(f" {figure:.3f} |" for figure in figures))
    if cuts:
        kept = f"completeness {cuts['completeness']:.3f}"
        print(f"| cuts ({kept}) | | {cuts['purity']:.3f} | {cuts['purity_error']:.3f} | |", end="")
        print(f" {cuts['sky_purity']:.4f} | {cuts['sky_purity_error']:.4f} | | | 1 |")


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    embeddings = Embeddings.open(Path(arguments[0]))
    refuse_contaminated(embeddings, allow=False)
    if embeddings.card["simulated"]:
        print("SIMULATED galaxies")
    for z_max in LIMITS:
        truth, scores = scores_at(embeddings, z_max)
        selected = None
        if arguments[1:]:
            known = read_truth(embeddings, z_max=z_max)
            test = known.rows(embeddings.column("split") == "test")
            r_mag, g_mag, *radius = (embeddings.column(name)[test] for name in arguments[1:])
            selected = select_lowz(r_mag, g_mag - r_mag, radius[0] if radius else None).selected
        print_table(truth, scores, selected, z_max)


if __name__ == "__main__":
    main(sys.argv[1:])
