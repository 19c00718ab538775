"""Does asking `dwarfs propose=` whom to look at teach more than looking anywhere?

    python -m benchmarks.dwarfs.active EMBEDDINGS [z_max=0.03 start=300 ask=50 rounds=8 draws=5]
    python -m benchmarks.dwarfs.active EMBEDDINGS sky=val    # to choose a strategy by

The labelled training galaxies play the unknown ones. In each draw all strategies start from the
same random galaxies. In each round the logistic head is fitted to what is known so far, validation
galaxies set its penalty and the threshold of the 90 % complete list, the strategy asks for more,
and is told the truth. Printed: average precision on the test sky (or the validation sky) after each
round, its mean over draws and the error of the mean. The encoder must not have seen any redshift.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.dwarfs.compare import near
from benchmarks.redshift_ladder.photometry import rows_of
from ssl_photoz.core.errors import ContaminatedError
from ssl_photoz.core.types import Doubles, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.candidates import propose_looks
from ssl_photoz.nearby.heads import LinearHead, fit_logistic
from ssl_photoz.nearby.purity import PurityCurve
from ssl_photoz.photoz.labels import Labelled, read_labelled
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.settings import IndexConfig

Strategy = Callable[[Index, Ints, Doubles, float, int], Ints]


@dataclass(frozen=True)
class Trial:
    """Look for z < z_max from ``start`` labels, ``ask`` more each round; all again each draw."""

    z_max: float = 0.03
    start: int = 300
    ask: int = 50
    rounds: int = 8
    draws: int = 5
    sky: str = "test"


def as_proposed(index: Index, rows: Ints, score: Doubles, threshold: float, n: int) -> Ints:
    """Ask as `ssl-photoz dwarfs propose=` does: likely, and unlike each other."""
    return propose_looks(index, rows, score, n=n)


def unsure(index: Index, rows: Ints, score: Doubles, threshold: float, n: int) -> Ints:
    """Ask for those whose score is nearest the threshold, and unlike each other."""
    return propose_looks(index, rows, -np.abs(score - threshold), n=n)


def at_random(index: Index, rows: Ints, score: Doubles, threshold: float, n: int) -> Ints:
    """Ask for any."""
    return np.random.default_rng(rows.sum()).choice(rows, n, replace=False)


def by_score(index: Index, rows: Ints, score: Doubles, threshold: float, n: int) -> Ints:
    """Ask for the likeliest."""
    return rows[np.argsort(-score, kind="stable")[:n]]


STRATEGIES: dict[str, Strategy] = {
    "`dwarfs propose=`: likely, and unlike each other": as_proposed,
    "the likeliest": by_score,
    "the least sure, unlike each other": unsure,
    "any": at_random,
}


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    kinds = {field.name: type(field.default) for field in fields(Trial)}
    given = dict(one.split("=", 1) for one in arguments[1:])
    trial = Trial(**{name: kinds[name](value) for name, value in given.items()})
    embeddings = Embeddings.open(Path(arguments[0]))
    if embeddings.card.get("labels_seen"):
        raise ContaminatedError(f"the encoder of {arguments[0]} has seen redshifts; give another")
    splits = read_labelled(embeddings)
    index = Index.build(embeddings, config=IndexConfig(index_type="flat"))
    rows = rows_of(embeddings, splits["train"])
    found = {
        name: [
            learn(index, splits, rows, strategy, trial, seed=draw)
            for draw in tqdm(range(trial.draws), desc=name)
        ]
        for name, strategy in STRATEGIES.items()
    }
    print("SIMULATED galaxies" if embeddings.card["simulated"] else "galaxies of the sky")
    print_table(splits, found, trial)


def learn(
    index: Index,
    splits: dict[str, Labelled],
    rows: Ints,
    strategy: Strategy,
    trial: Trial,
    *,
    seed: int,
) -> list[float]:
    """Average precision on the test sky at the start and after each round."""
    train, val, test = (splits[name] for name in ("train", "val", trial.sky))
    known = np.zeros(len(train), bool)
    known[np.random.default_rng(seed).choice(len(train), trial.start, replace=False)] = True
    precision = []
    for _ in range(trial.rounds + 1):
        head = _fit(train.take(known), val, trial.z_max)
        score = head.score(test.features)[:, 0]
        precision.append(PurityCurve.measure(test.z < trial.z_max, score).average_precision())
        threshold = float(np.quantile(head.score(val.features)[val.z < trial.z_max, 0], 0.1))
        unknown = head.score(train.features[~known])[:, 0]
        asked = strategy(index, rows[~known], unknown, threshold, trial.ask)
        known |= np.isin(rows, asked)
    return precision


def _fit(train: Labelled, val: Labelled, z_max: float) -> LinearHead:
    given = {"val_vectors": val.features, "val_labels": near(val, z_max)}
    return fit_logistic(train.features, near(train, z_max), **given)


def print_table(
    splits: dict[str, Labelled], found: dict[str, list[list[float]]], trial: Trial
) -> None:
    """Print average precision by strategy and number of labels."""
    wanted = {split: int((some.z < trial.z_max).sum()) for split, some in splits.items()}
    print(
        f"z < {trial.z_max:g}: {wanted['train']} of {len(splits['train'])} to ask among, "
        f"{wanted['val']} of {len(splits['val'])} validation and {wanted['test']} of "
        f"{len(splits['test'])} test galaxies; {trial.draws} draws; scored on {trial.sky}\n"
    )
    labels = [trial.start + trial.ask * n for n in range(trial.rounds + 1)]
    print("| asking |" + "".join(f" {n} labels |" for n in labels))
    print("|---|" + "---:|" * len(labels))
    for name, precision in found.items():
        mean = np.mean(precision, axis=0)
        error = np.std(precision, axis=0, ddof=1) / trial.draws**0.5
        cells = (f" {m:.3f} ± {e:.3f} |" for m, e in zip(mean, error, strict=True))
        print(f"| {name} |" + "".join(cells))


if __name__ == "__main__":
    main(sys.argv[1:])
