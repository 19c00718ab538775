"""What the jobs predict, read back: choices on validation, scores and differences on test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.redshift_ladder.plan import Job
from benchmarks.redshift_ladder.run import DONE
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.nearby.purity import COMPLETENESS, PurityCurve
from ssl_photoz.photoz import metrics

SHOWN = ("sigma_nmad", "outliers_05", "r2")
BETTER = {"sigma_nmad": -1, "outliers_05": -1, "r2": 1}
DRAWS = 200


class Key(NamedTuple):
    """What was done: one line of the table, before choosing a probe."""

    input: str
    configuration: str
    labels: str
    read_out: str
    probe: str


@dataclass(frozen=True)
class Result:
    """Test predictions of one way of doing it, one row per seed.

    Attributes:
        key: What was done.
        z_phot: Shape (S, n).
        z_spec: Shape (n,).
        ids: Shape (n,).
        tuning: Mean over seeds of the validation score the probes choose by; NaN if unknown.
    """

    key: Key
    z_phot: Doubles
    z_spec: Doubles
    ids: Array
    tuning: float

    def scores(self, rows: Array | slice = slice(None)) -> Doubles:
        """Means over seeds of the shown metrics, of some galaxies, shape (3,)."""
        spec = self.z_spec[rows]
        each = [metrics.summarise(phot[rows], spec) for phot in self.z_phot]
        values = np.array([[getattr(one, name) for name in SHOWN] for one in each])
        return np.asarray(values.mean(axis=0))

    def metric(self, name: str) -> float:
        """Mean over seeds of one of the shown metrics."""
        return float(self.scores()[SHOWN.index(name)])


def read_results(jobs: Iterable[Job]) -> list[Result]:
    """Read what the finished jobs predict on the one split, the seeds of one thing together."""
    found: dict[Key, list[tuple[pa.Table, pa.Table]]] = {}
    for job in jobs:
        if not job.folds and (job.folder / DONE).exists():
            for key, val, test in _parts(job):
                found.setdefault(key, []).append((val, test))
    return [_result(key, parts) for key, parts in found.items()]


def chosen(results: Iterable[Result]) -> list[Result]:
    """The read-out and probe best on validation, for every configuration and label count."""
    best: dict[tuple[str, ...], Result] = {}
    for result in results:
        group = result.key[:3]
        if group not in best or result.tuning < best[group].tuning:
            best[group] = result
    return list(best.values())


def errors(result: Result, *, seed: int = 0) -> dict[str, float]:
    """Return the bootstrap error of each shown metric; galaxies are drawn, seeds kept together."""
    drawn = [result.scores(rows) for rows in resamples(len(result.z_spec), seed=seed)]
    return dict(zip(SHOWN, np.std(drawn, axis=0, ddof=1).tolist(), strict=True))


def gains(one: Result, other: Result, *, seed: int = 0) -> dict[str, tuple[float, float]]:
    """How much better one is than the other, by metric, and the paired error of that.

    Raises:
        ValueError: If they do not predict the same galaxies.
    """
    if not np.array_equal(one.ids, other.ids):
        raise ValueError(f"{one.key} and {other.key} predict different galaxies")
    signs = np.array([BETTER[name] for name in SHOWN])
    drawn = [
        one.scores(rows) - other.scores(rows) for rows in resamples(len(one.z_spec), seed=seed)
    ]
    whole = signs * (one.scores() - other.scores())
    error = np.std(drawn, axis=0, ddof=1)
    return dict(zip(SHOWN, zip(whole.tolist(), error.tolist(), strict=True), strict=True))


def purity_at_90(result: Result, limit: float) -> tuple[float, Doubles]:
    """Return how pure a list is that holds 90 % of the galaxies below a redshift.

    Galaxies are listed by z_phot, lowest first. A mean over seeds, as are the shown metrics.

    Returns:
        Purity, and that of galaxies drawn again, seeds kept together, shape (200,); NaN where none
        is nearby.
    """

    def measure(rows: Array | slice) -> float:
        nearby = result.z_spec[rows] < limit
        if not nearby.any():
            return float("nan")
        curves = [PurityCurve.measure(nearby, -z_phot[rows]) for z_phot in result.z_phot]
        return float(np.mean([curve.purity_at(COMPLETENESS) for curve in curves]))

    again = np.array([measure(rows) for rows in resamples(len(result.z_spec))])
    return measure(slice(None)), again


def rows(results: list[Result]) -> Iterator[dict[str, object]]:
    """Yield every result, chosen or not, as a row for a CSV."""
    picked = {result.key for result in chosen(results)}
    for result in results:
        error = errors(result)
        row: dict[str, object] = {**result.key._asdict(), "chosen": result.key in picked}
        row |= {"seeds": len(result.z_phot), "test_galaxies": len(result.z_spec)}
        for name in SHOWN:
            each = [getattr(metrics.summarise(z, result.z_spec), name) for z in result.z_phot]
            row |= {
                name: round(result.metric(name), 5),
                f"error_{name}": round(error[name], 5),
                f"between_seeds_{name}": round(float(np.std(each)), 5),
            }
        yield row | {"validation": round(result.tuning, 5)}


def _parts(job: Job) -> Iterator[tuple[Key, pa.Table, pa.Table]]:
    table = pq.read_table(job.folder / "predictions.parquet")
    keys = table.select(["labels", "read_out", "probe"]).to_pylist()
    groups: dict[tuple[str, str, str], list[int]] = {}
    for number, row in enumerate(keys):
        groups.setdefault((row["labels"], row["read_out"], row["probe"]), []).append(number)
    for (labels, read_out, probe), numbers in groups.items():
        part = table.take(numbers)
        sides = [part.filter(pc.equal(part["split"], split)) for split in ("val", "test")]
        yield Key(job.input, job.line(read_out), labels, read_out, probe), sides[0], sides[1]


def _result(key: Key, parts: list[tuple[pa.Table, pa.Table]]) -> Result:
    order = [np.argsort(test["id"].to_pylist()) for _, test in parts]
    ids = np.sort(parts[0][1]["id"].to_pylist())
    phot = [test["z_phot"].to_numpy()[o] for (_, test), o in zip(parts, order, strict=True)]
    scores = [tuning_of(val) for val, _ in parts]
    return Result(
        key, np.array(phot), parts[0][1]["z_spec"].to_numpy()[order[0]], ids, float(np.mean(scores))
    )


def tuning_of(val: pa.Table) -> float:
    """Return the score of validation predictions by which a probe is chosen; NaN of none."""
    if len(val) == 0:
        return float("nan")
    dz = metrics.residuals(val["z_phot"].to_numpy(), val["z_spec"].to_numpy())
    return metrics.sigma_nmad(dz) + float(np.mean(np.abs(dz)))


def resamples(count: int, *, seed: int = 0) -> Iterator[Array]:
    """Yield rows of so many galaxies drawn again, with replacement, 200 times."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, count, count) for _ in range(DRAWS))
