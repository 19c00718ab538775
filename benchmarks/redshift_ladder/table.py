"""From predictions to the ladder's table: choices on validation, scores on test."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.redshift_ladder.climb import DONE
from benchmarks.redshift_ladder.plan import Job, Size, says
from ssl_photoz import runs
from ssl_photoz.redshift import metrics
from ssl_photoz.types import Array, Doubles

SHOWN = ("sigma_nmad", "outliers_05", "r2")
BETTER = {"sigma_nmad": -1, "outliers_05": -1, "r2": 1}
RIVALS = ("resnet18", "aperture")
DRAWS = 200
NEARBY = 0.03


class Key(NamedTuple):
    """What was done: one line of the table, before choosing a probe."""

    input: str
    rung: str
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
        """Return the means over seeds of the shown metrics, of some galaxies, shape (3,)."""
        spec = self.z_spec[rows]
        each = [metrics.summarise(phot[rows], spec) for phot in self.z_phot]
        return np.mean([[getattr(one, name) for name in SHOWN] for one in each], axis=0)

    def metric(self, name: str) -> float:
        """Return the mean over seeds of one of the shown metrics."""
        return float(self.scores()[SHOWN.index(name)])


def read_results(size: Size, jobs: Iterable[Job]) -> list[Result]:
    """Read what the finished jobs predict, the seeds of one thing together."""
    found: dict[Key, list[tuple[pa.Table, pa.Table]]] = {}
    for job in jobs:
        if (job.folder / DONE).exists():
            for key, val, test in _parts(job):
                found.setdefault(key, []).append((val, test))
    return [_result(key, parts) for key, parts in found.items()]


def chosen(results: Iterable[Result]) -> list[Result]:
    """Return, for every rung and label count, the read-out and probe best on validation."""
    best: dict[tuple[str, ...], Result] = {}
    for result in results:
        group = result.key[:3]
        if group not in best or result.tuning < best[group].tuning:
            best[group] = result
    return list(best.values())


def errors(result: Result, *, seed: int = 0) -> dict[str, float]:
    """Return the bootstrap error of each shown metric; galaxies are drawn, seeds kept together."""
    drawn = [result.scores(rows) for rows in _draws(result, seed)]
    return dict(zip(SHOWN, np.std(drawn, axis=0, ddof=1).tolist(), strict=True))


def gains(one: Result, other: Result, *, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return how much better one is than the other, by metric, and the paired error of that.

    Raises:
        ValueError: If they do not predict the same galaxies.
    """
    if not np.array_equal(one.ids, other.ids):
        raise ValueError(f"{one.key} and {other.key} predict different galaxies")
    signs = np.array([BETTER[name] for name in SHOWN])
    drawn = [one.scores(rows) - other.scores(rows) for rows in _draws(one, seed)]
    whole = signs * (one.scores() - other.scores())
    error = np.std(drawn, axis=0, ddof=1)
    return dict(zip(SHOWN, zip(whole.tolist(), error.tolist(), strict=True), strict=True))


def markdown(size: Size, results: list[Result], facts: dict[str, dict[str, float]]) -> str:
    """Write one table per input: a line per rung, a column per label count."""
    best: dict[tuple[str, ...], Result] = {r.key[:3]: r for r in chosen(results)}
    lines: list[str] = []
    for name in size.inputs:
        counts = [n for n in map(says, size.labels) if any(k[::2] == (name, n) for k in best)]
        if not counts:
            continue
        heads = [f"{n} of labels" if "%" in n else f"{n} labels" for n in counts]
        lines += ["", f"### {_title(size, name, best)}", ""]
        lines += ["| rung | " + " | ".join([*heads, "train, s", "embedded per s"]) + " |"]
        lines += ["|---|" + "---|" * len(counts) + "---:|---:|"]
        for rung, title in rung_titles(size).items():
            cells = [_cell(best, (name, rung, count)) for count in counts]
            if any(cells):
                timed = facts.get(f"{name}/{rung}", {})
                times = [timed.get(key) for key in ("train_seconds", "embedded_per_second")]
                cells += ["" if value is None else f"{value:.0f}" for value in times]
                lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rows(size: Size, results: list[Result]) -> Iterator[dict[str, object]]:
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


def likeness_markdown(size: Size, jobs: Iterable[Job]) -> str:
    """Write how much of each property look-alikes share: a line per rung, means over seeds."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for job in jobs:
        if job.labels is None and job.verb and (job.folder / DONE).exists():
            said = runs.read_json(job.folder / DONE)["likeness"]
            found.setdefault((job.input, job.rung), []).append(said)
    lines: list[str] = []
    for name, about in size.inputs.items():
        properties = about.get("likeness", ())
        if not properties or not any(key[0] == name for key in found):
            continue
        lines += ["", f"### {name}: what the 8 nearest galaxies share (R², test)", ""]
        lines += ["| rung | " + " | ".join(properties) + " |", "|---|" + "---:|" * len(properties)]
        for rung, title in rung_titles(size).items():
            if said := found.get((name, rung)):
                means = [f"{np.mean([one[p] for one in said]):.3f}" for p in properties]
                lines.append(f"| {title} | " + " | ".join(means) + " |")
    return "\n".join(lines) + "\n"


def nearby_markdown(size: Size, results: list[Result], jobs: Iterable[Job]) -> str:
    """Write how pure and complete selections of z < 0.03 are, with all labels."""
    found: dict[str, list[dict[str, float]]] = {}
    for job in jobs:
        if not job.verb and (job.folder / DONE).exists():
            facts = runs.read_json(job.folder / DONE)
            found.setdefault(job.input, []).extend([facts["lowz"]] if "lowz" in facts else [])
    lines: list[str] = []
    for name, cuts in found.items():
        if not cuts:
            continue
        lines += ["", f"### {name}: z < {NEARBY}, {cuts[0]['n']} test galaxies", ""]
        lines += ["| selection | purity | completeness | purity at 90 % completeness |"]
        lines += ["|---|---:|---:|---:|"]
        how = " and ".join(cuts[0]["cuts"])  # type: ignore[arg-type]
        lines.append(
            f"| LOW-Z-style cuts ({how}) | {cuts[0]['purity']:.1%} ± {cuts[0]['error_purity']:.1%} "
            f"| {cuts[0]['completeness']:.1%} ± {cuts[0]['error_completeness']:.1%} | |"
        )
        all_labels = [r for r in chosen(results) if r.key[:3] == (name, r.key.rung, says(1.0))]
        best = {result.key.rung: result for result in all_labels}
        for rung, title in rung_titles(size).items():
            if rung in best and rung != "mean":
                lines.append(f"| {title} | {_nearby(best[rung])} |")
    return "\n".join(lines) + "\n"


def _nearby(result: Result) -> str:
    scores = [
        (
            *metrics.purity_completeness(z, result.z_spec, NEARBY),
            metrics.purity_at(z, result.z_spec, NEARBY),
        )
        for z in result.z_phot
    ]
    return " | ".join(f"{value:.1%}" for value in np.nanmean(scores, axis=0))


def rung_titles(size: Size) -> dict[str, str]:
    """Return the title of every line of the table, in order."""
    photometric = {
        "mean": "mean of the training set",
        "aperture": "aperture photometry",
        "catalogue": "catalogue photometry",
    }
    return photometric | {name: str(about["title"]) for name, about in size.rungs.items()}


def gather_facts(jobs: Iterable[Job]) -> dict[str, dict[str, float]]:
    """Return what was timed, a mean over seeds, by ``input/rung``; of the most labels."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for job in jobs:  # the most labels come first
        if (job.folder / DONE).exists():
            of_rung = found.setdefault(f"{job.input}/{job.rung}", {})
            of_rung.setdefault(job.seed, runs.read_json(job.folder / DONE))
    return {
        name: {
            key: float(np.mean([facts[key] for facts in of_rung.values()]))
            for key, value in next(iter(of_rung.values())).items()
            if isinstance(value, int | float)
        }
        for name, of_rung in found.items()
    }


def _parts(job: Job) -> Iterator[tuple[Key, pa.Table, pa.Table]]:
    table = pq.read_table(job.folder / "predictions.parquet")
    keys = table.select(["labels", "read_out", "probe"]).to_pylist()
    groups: dict[tuple[str, str, str], list[int]] = {}
    for number, row in enumerate(keys):
        groups.setdefault((row["labels"], row["read_out"], row["probe"]), []).append(number)
    for (labels, read_out, probe), numbers in groups.items():
        part = table.take(numbers)
        rung = read_out if job.rung == "yardsticks" else job.rung
        sides = [part.filter(pc.equal(part["split"], split)) for split in ("val", "test")]
        yield Key(job.input, rung, labels, read_out, probe), sides[0], sides[1]


def _result(key: Key, parts: list[tuple[pa.Table, pa.Table]]) -> Result:
    order = [np.argsort(test["id"].to_pylist()) for _, test in parts]
    ids = np.sort(parts[0][1]["id"].to_pylist())
    phot = [test["z_phot"].to_numpy()[o] for (_, test), o in zip(parts, order, strict=True)]
    scores = [_tuning(val) for val, _ in parts]
    return Result(
        key, np.array(phot), parts[0][1]["z_spec"].to_numpy()[order[0]], ids, float(np.mean(scores))
    )


def _tuning(val: pa.Table) -> float:
    if len(val) == 0:
        return float("nan")
    dz = metrics.residuals(val["z_phot"].to_numpy(), val["z_spec"].to_numpy())
    return metrics.sigma_nmad(dz) + float(np.mean(np.abs(dz)))


def _draws(result: Result, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, len(result.z_spec), len(result.z_spec)) for _ in range(DRAWS))


def _cell(best: Mapping[tuple[str, ...], Result], group: tuple[str, str, str]) -> str:
    """Write sigma, outliers and R2, the probe chosen, and which rivals are beaten in all three."""
    if group not in best:
        return ""
    result, error = best[group], errors(best[group])
    sigma, outliers, r2 = (result.metric(name) for name in SHOWN)
    text = f"{sigma:.4f} ± {error['sigma_nmad']:.4f} / {outliers:.1%} / {r2:.3f}"
    how = " ".join(filter(None, (result.key.probe, result.key.read_out)))
    beaten = [_beaten(result, best.get((group[0], rival, group[2]))) for rival in RIVALS]
    marks = "".join(itertools.compress(("†", "‡"), beaten))
    return f"{text} {marks}<br>{how}".replace(" <br>", "<br>")


def _beaten(result: Result, rival: Result | None) -> bool:
    """Say whether all three metrics are better than a rival's by more than two errors."""
    if rival is None or rival.key.rung == result.key.rung:
        return False
    return all(gain > 2 * error for gain, error in gains(result, rival).values())


def _title(size: Size, name: str, best: Mapping[tuple[str, ...], Result]) -> str:
    some = next(result for key, result in best.items() if key[0] == name)
    seeds = max(len(result.z_phot) for key, result in best.items() if key[0] == name)
    label = "SIMULATED survey" if "simulate" in size.inputs[name] else "real galaxies"
    return f"{name}: {label}, {len(some.z_spec)} test galaxies, {seeds} seeds"
