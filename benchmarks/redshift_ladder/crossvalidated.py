"""What cross-validation says: choices fold by fold, scores and differences over all galaxies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.redshift_ladder.plan import Job
from benchmarks.redshift_ladder.results import BETTER, SHOWN, Key, Result, resamples, tuning_of
from benchmarks.redshift_ladder.run import DONE
from ssl_photoz.core.types import Doubles, Ints

SIGNS = np.array([BETTER[name] for name in SHOWN])


class Draw(NamedTuple):
    """One cross-validation: an encoder's seed, and a draw of labels."""

    seed: int
    draw: int


@dataclass(frozen=True)
class CrossValidated(Result):
    """Predictions for every labelled galaxy, one row per draw.

    Attributes:
        fold: Fold in which each galaxy is tested, shape (n,).
        fold_tuning: Mean over draws of the validation score in each fold, shape (K,).
        draws: What each row of ``z_phot`` is.
    """

    fold: Ints
    fold_tuning: Doubles
    draws: tuple[Draw, ...]

    @cached_property
    def by_draw(self) -> Doubles:
        """Shown metrics of every draw, shape (S, 3)."""
        return np.array([self.one(row).scores() for row in range(len(self.draws))])

    @cached_property
    def by_resample(self) -> Doubles:
        """Shown metrics, means over draws, of galaxies drawn again, shape (200, 3)."""
        return np.array([self.scores(rows) for rows in resamples(len(self.z_spec))])

    def one(self, row: int) -> Result:
        """Return the predictions of one draw."""
        return Result(self.key, self.z_phot[row][None], self.z_spec, self.ids, self.tuning)


def read_cross_validated(jobs: Iterable[Job]) -> list[CrossValidated]:
    """Read what the finished cross-validations predict, the draws of one thing together."""
    found: dict[Key, dict[Draw, pa.Table]] = {}
    for job in jobs:
        if not job.folds or not (job.folder / DONE).exists():
            continue
        table = pq.read_table(job.folder / "predictions.parquet")
        names = ["labels", "read_out", "probe"]
        for one in table.group_by(names, use_threads=False).aggregate([]).to_pylist():
            same = [pc.equal(table[name], one[name]) for name in names]
            part = table.filter(pc.and_(pc.and_(same[0], same[1]), same[2]))
            key = Key(job.input, job.line(one["read_out"]), *(one[name] for name in names))
            found.setdefault(key, {})[Draw(job.seed, job.draw)] = part
    return [_result(key, parts) for key, parts in found.items()]


def chosen_by_fold(results: Iterable[CrossValidated]) -> list[CrossValidated]:
    """Put each line and label count together from what is best on validation, fold by fold.

    What is chosen for a fold so rests on none of its galaxies. The result's key names the read-out
    and the probe of most folds.
    """
    groups: dict[tuple[str, ...], list[CrossValidated]] = {}
    for result in results:
        groups.setdefault(result.key[:3], []).append(result)
    # Where a run was interrupted, or probes were added to it, some may have more draws.
    shared = [set.intersection(*(set(one.draws) for one in some)) for some in groups.values()]
    return [
        _best_of(some, tuple(sorted(draws)))
        for some, draws in zip(groups.values(), shared, strict=True)
        if draws
    ]


def errors(result: CrossValidated) -> dict[str, float]:
    """Return the error of each shown metric: of galaxies, and of draws, in quadrature."""
    error = np.hypot(np.std(result.by_resample, axis=0, ddof=1), _of_mean(result.by_draw))
    return dict(zip(SHOWN, error.tolist(), strict=True))


def gains(one: CrossValidated, other: CrossValidated) -> dict[str, tuple[float, float]]:
    """Return how much better one is than the other, by metric, and the paired error of that.

    The same galaxies are drawn again in both, and the same draws of labels are compared.

    Raises:
        ValueError: If they do not predict the same galaxies.
    """
    if not np.array_equal(one.ids, other.ids):
        raise ValueError(f"{one.key} and {other.key} predict different galaxies")
    of_galaxies = np.std(one.by_resample - other.by_resample, axis=0, ddof=1)
    if one.draws == other.draws:
        of_draws = _of_mean(one.by_draw - other.by_draw)
    else:
        of_draws = np.hypot(_of_mean(one.by_draw), _of_mean(other.by_draw))
    whole = SIGNS * (one.by_draw.mean(axis=0) - other.by_draw.mean(axis=0))
    error = np.hypot(of_galaxies, of_draws)
    return dict(zip(SHOWN, zip(whole.tolist(), error.tolist(), strict=True), strict=True))


def rows(
    results: Sequence[CrossValidated], best: Sequence[CrossValidated]
) -> Iterator[dict[str, object]]:
    """Yield rows for a CSV: what was put together fold by fold, with errors; then all the parts."""
    for result, chosen in [(one, True) for one in best] + [(one, False) for one in results]:
        row: dict[str, object] = {**result.key._asdict(), "chosen": chosen}
        row |= {"folds": len(result.fold_tuning), "draws": len(result.draws)}
        row |= {"galaxies": len(result.z_spec)}
        error = errors(result) if chosen else {}
        for place, name in enumerate(SHOWN):
            each = result.by_draw[:, place]
            row |= {
                name: round(float(each.mean()), 5),
                f"error_{name}": round(error[name], 5) if chosen else "",
                f"between_draws_{name}": round(float(np.std(each)), 5),
            }
        yield row | {"validation": round(result.tuning, 5)}


def _of_mean(by_draw: Doubles) -> Doubles:
    """Error of the mean over draws, shape (3,); 0 of a single one."""
    count = len(by_draw)
    if count < 2:
        return np.zeros(by_draw.shape[1])
    return np.asarray(np.std(by_draw, axis=0, ddof=1) / np.sqrt(count))


def _best_of(results: Sequence[CrossValidated], draws: tuple[Draw, ...]) -> CrossValidated:
    """Put one result together, of each fold what is best on the validation galaxies there."""
    picks = np.argmin([result.fold_tuning for result in results], axis=0)
    first = results[0]
    z_phot = np.empty((len(draws), len(first.ids)))
    for fold, pick in enumerate(picks):
        here, theirs = first.fold == fold, results[pick]
        at = [theirs.draws.index(draw) for draw in draws]
        z_phot[:, here] = theirs.z_phot[at][:, here]
    (most, _), *_ = Counter(picks.tolist()).most_common()
    tunings = np.min([result.fold_tuning for result in results], axis=0)
    return CrossValidated(
        key=results[most].key,
        z_phot=z_phot,
        z_spec=first.z_spec,
        ids=first.ids,
        tuning=float(tunings.mean()),
        fold=first.fold,
        fold_tuning=tunings,
        draws=draws,
    )


def _result(key: Key, parts: dict[Draw, pa.Table]) -> CrossValidated:
    draws = tuple(sorted(parts))
    tests = [parts[draw].filter(pc.equal(parts[draw]["split"], "test")) for draw in draws]
    tests = [test.take(np.argsort(test["id"].to_pylist(), kind="stable")) for test in tests]
    first = tests[0]
    fold = first["fold"].to_numpy()
    tunings = np.mean([_tunings(parts[draw], int(fold.max()) + 1) for draw in draws], axis=0)
    return CrossValidated(
        key=key,
        z_phot=np.array([test["z_phot"].to_numpy() for test in tests]),
        z_spec=first["z_spec"].to_numpy(),
        ids=np.array(first["id"].to_pylist()),
        tuning=float(tunings.mean()),
        fold=fold,
        fold_tuning=tunings,
        draws=draws,
    )


def _tunings(table: pa.Table, folds: int) -> list[float]:
    val = table.filter(pc.equal(table["split"], "val"))
    return [tuning_of(val.filter(pc.equal(val["fold"], fold))) for fold in range(folds)]
