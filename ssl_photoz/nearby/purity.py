"""Purity and completeness of a ranked list: of the sample, of its parts, and as on the sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Bools, Doubles, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.settings import SKY

COMPLETENESS = 0.9
PURITY = 0.2
RESAMPLINGS = 200
COLOURS = ("#1864ab", "#2b8a3e", "#862e9c", "#5c940d", "#c92a2a")
MAGNITUDE_BINS = 5


def purity_at_base_rate(
    completeness: Doubles | float, false_positive_rate: Doubles | float, base_rate: float
) -> Doubles:
    """Purity (efficiency) of a list where a fraction ``base_rate`` is wanted.

    ``pi C / (pi C + (1 - pi) F)``, Bayes' theorem; 0 for an empty list.

    Args:
        completeness: C, fraction of the wanted galaxies that are in the list.
        false_positive_rate: F, fraction of the unwanted galaxies that are.
        base_rate: pi.

    Raises:
        ConfigError: If the base rate is not between 0 and 1.
    """
    require_rate(base_rate)
    right = base_rate * np.asarray(completeness, dtype=np.float64)
    wrong = (1 - base_rate) * np.asarray(false_positive_rate, dtype=np.float64)
    return np.asarray(right / np.maximum(right + wrong, 1e-300))


def probability_at_base_rate(
    probability: Doubles, *, sample_rate: float, base_rate: float
) -> Doubles:
    """What probabilities become where the wanted are rarer, or more common.

    The odds are multiplied by the ratio of the prior odds [1].

    Args:
        probability: Calibrated on the sample, any shape; NaN stays NaN.
        sample_rate: Fraction of the sample that is wanted.
        base_rate: Fraction there that is.

    Raises:
        ConfigError: If a rate is not between 0 and 1.

    References:
        [1] Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21.
    """
    require_rate(sample_rate)
    require_rate(base_rate)
    wanted = probability * base_rate / sample_rate
    return np.asarray(wanted / (wanted + (1 - probability) * (1 - base_rate) / (1 - sample_rate)))


def require_rate(rate: float) -> None:
    """Raise ConfigError unless a rate lies between 0 and 1."""
    if not 0 < rate < 1:
        raise ConfigError(f"a base rate of {rate} was given, expected between 0 and 1, like {SKY}")


@dataclass(frozen=True)
class PurityCurve:
    """What a list holds as its threshold is lowered; galaxies of equal score enter together.

    Attributes:
        completeness: Fraction of all wanted galaxies in the list, increasing, shape (m,).
        false_positive_rate: Fraction of all unwanted galaxies in the list, increasing, shape (m,).
        score: The threshold, decreasing, shape (m,).
        base_rate: Fraction of wanted galaxies among all: the purity of a random list.
    """

    completeness: Doubles
    false_positive_rate: Doubles
    score: Doubles
    base_rate: float

    @classmethod
    def measure(cls, truth: Bools, score: Doubles, weight: Array | None = None) -> PurityCurve:
        """Measure the curve.

        Args:
            truth: Whether each galaxy is wanted, at least one is; shape (n,).
            score: Higher means more likely; shape (n,).
            weight: Weight of each galaxy, shape (n,); 1 if None.
        """
        order = np.argsort(-score, kind="stable")
        counts = np.ones(len(truth)) if weight is None else weight[order]
        last = np.append(np.diff(score[order]) != 0, True)
        right = np.cumsum(counts * truth[order])[last]
        wrong = np.cumsum(counts * ~truth[order])[last]
        every = float(right[-1] + wrong[-1])
        shares = right / right[-1], wrong / max(wrong[-1], 1)
        return cls(*shares, score[order][last], float(right[-1]) / every)

    def purity(self, base_rate: float | None = None) -> Doubles:
        """Fraction of the list that is wanted, (m,); at another base rate if given."""
        if self.base_rate == 1:
            return np.ones(len(self.score))
        rate = self.base_rate if base_rate is None else base_rate
        return purity_at_base_rate(self.completeness, self.false_positive_rate, rate)

    def purity_at(self, completeness: float, *, base_rate: float | None = None) -> float:
        """Purity of the shortest list that is at least this complete."""
        return float(self.purity(base_rate)[self.place_of(completeness)])

    def completeness_at(self, purity: float, *, base_rate: float | None = None) -> float:
        """Completeness of the longest list that is at least this pure; 0 if none is."""
        return float(self.completeness[self.purity(base_rate) >= purity].max(initial=0.0))

    def place_of(self, completeness: float) -> int:
        """Where on the curve the list is first at least this complete."""
        return int(np.argmax(self.completeness >= completeness - 1e-12))

    def average_precision(self) -> float:
        """Purity, averaged over the wanted galaxies as they enter the list."""
        return float(np.sum(np.diff(self.completeness, prepend=0.0) * self.purity()))


def measure_purity(
    truth: Bools, score: Doubles, *, base_rate: float = SKY, seed: int = 0
) -> dict[str, Any]:
    """Figures of a ranked list, with bootstrap standard errors.

    Args:
        truth: Whether each galaxy is wanted, shape (n,).
        score: Higher means more likely, shape (n,).
        base_rate: Fraction of wanted galaxies on the sky, for the figures that begin with
            ``sky_``; see `base_rate`.
        seed: Seed of the bootstrap.

    Returns:
        ``n``, ``n_dwarfs``, ``base_rate``, ``sky_base_rate``, ``false_at_90_completeness`` (how
        many unwanted galaxies are in that list: below about ten, ``sky_purity`` rests on few),
        and, each with ``_error``: ``average_precision``, ``purity_at_90_completeness``,
        ``enrichment_at_90_completeness`` (purity over base rate), ``completeness_at_20_purity``,
        ``sky_purity_at_90_completeness``, ``sky_completeness_at_20_purity``. Those are None
        where there is nothing to find.
    """
    counted: dict[str, Any] = {"n": len(truth), "n_dwarfs": int(truth.sum())}
    counted |= {"base_rate": float(truth.mean()) if len(truth) else None}
    counted |= {"sky_base_rate": base_rate}
    if not truth.any():
        nothing = _figures(PurityCurve.measure(np.ones(1, bool), np.zeros(1)), base_rate)
        blank = [*nothing, *(f"{name}_error" for name in nothing)]
        return {**counted, "false_at_90_completeness": None, **dict.fromkeys(blank)}
    curve = PurityCurve.measure(truth, score)
    false = curve.false_positive_rate[curve.place_of(COMPLETENESS)] * (~truth).sum()
    measured = bootstrap(truth, score, lambda one: _figures(one, base_rate), seed=seed)
    return {**counted, "false_at_90_completeness": round(float(false)), **measured}


def measure_selection(
    truth: Bools, selected: Bools, *, base_rate: float = SKY, seed: int = 0
) -> dict[str, Any]:
    """Figures of a fixed selection, such as photometric cuts.

    Returns:
        ``n_selected``, and ``purity``, ``completeness``, ``sky_purity`` with ``_error``; those are
        None where nothing is wanted or nothing is selected.
    """
    names = ("purity", "completeness", "sky_purity")

    def figures(curve: PurityCurve) -> dict[str, float]:
        purity, on_sky = curve.purity()[0], curve.purity(base_rate)[0]
        return dict(zip(names, map(float, (purity, curve.completeness[0], on_sky)), strict=True))

    counted: dict[str, Any] = {"n_selected": int(selected.sum())}
    if not truth.any() or not selected.any():
        return {**counted, **dict.fromkeys([*names, *(f"{name}_error" for name in names)])}
    return {**counted, **bootstrap(truth, selected.astype(np.float64), figures, seed=seed)}


def bootstrap(
    truth: Bools,
    score: Doubles,
    figures: Callable[[PurityCurve], Mapping[str, float]],
    *,
    seed: int,
) -> dict[str, float]:
    """Figures of a curve, and each one's standard error as ``_error``.

    Galaxies are drawn again 200 times; draws without a wanted one are passed over.
    """
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(RESAMPLINGS):
        times = np.bincount(rng.integers(0, len(truth), len(truth)), minlength=len(truth))
        if (times * truth).any():
            drawn.append(list(figures(PurityCurve.measure(truth, score, times)).values()))
    measured = dict(figures(PurityCurve.measure(truth, score)))
    errors = zip(measured, np.std(drawn, axis=0), strict=True)
    return {**measured, **{f"{name}_error": float(error) for name, error in errors}}


def draw_purity(
    path: Path,
    truth: Bools,
    scores: Mapping[str, Doubles],
    *,
    title: str,
    selected: Bools | None = None,
    base_rate: float = SKY,
) -> None:
    """Draw purity against completeness, of the sample and at the sky's base rate.

    Draws nothing where there is nothing to find.

    Args:
        path: File to write, .png.
        truth: Whether each galaxy is wanted, shape (n,).
        scores: Scores of each method, shape (n,).
        title: Title of the figure.
        selected: Mask of those that pass photometric cuts, shape (n,); drawn as a point.
        base_rate: Fraction of wanted galaxies on the sky.
    """
    if not truth.any():
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.7), dpi=130)
    panels = figure.subplots(1, 2)
    shown = (
        (float(truth.mean()), "as in the sample"),
        (base_rate, f"where {base_rate:.2g} of all are wanted, as on the sky"),
    )
    for axes, (rate, words) in zip(panels, shown, strict=True):
        for (name, score), colour in zip(scores.items(), COLOURS, strict=False):
            curve = PurityCurve.measure(truth, score)
            axes.step(curve.completeness, curve.purity(rate), where="pre", color=colour, label=name)
        axes.axhline(rate, color="0.5", linestyle="--", linewidth=1, label="random list")
        axes.axvline(COMPLETENESS, color="0.8", linewidth=1, zorder=0)
        if selected is not None and selected.any():
            cut = PurityCurve.measure(truth, selected.astype(np.float64))
            place = cut.completeness[0], cut.purity(rate)[0]
            axes.plot(*place, "D", color="#d9480f", label="photometric cuts", linestyle="none")
        axes.set(xlabel="completeness", ylabel="purity", xlim=(0, 1.02), title=words)
        axes.title.set_fontsize(9)
    panels[0].set(ylim=(0, 1.05))
    panels[1].set(yscale="log", ylim=(base_rate / 2, 1.4))
    panels[0].legend(frameon=False, fontsize=8, loc="best")
    figure.suptitle(title, fontsize=10)
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.13, top=0.84, wspace=0.2)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, metadata={"Software": None})


def _figures(curve: PurityCurve, base_rate: float) -> dict[str, float]:
    purity = curve.purity_at(COMPLETENESS)
    return {
        "average_precision": curve.average_precision(),
        "purity_at_90_completeness": purity,
        "enrichment_at_90_completeness": purity / curve.base_rate,
        "completeness_at_20_purity": curve.completeness_at(PURITY),
        "sky_purity_at_90_completeness": curve.purity_at(COMPLETENESS, base_rate=base_rate),
        "sky_completeness_at_20_purity": curve.completeness_at(PURITY, base_rate=base_rate),
    }


def read_strata(
    embeddings: Embeddings, rows: Ints, magnitude: str | None, population: str | None
) -> dict[str, Array]:
    """Part of the sample that each of some rows belongs to, by ways to part it.

    Args:
        embeddings: The store.
        rows: Row numbers, shape (n,).
        magnitude: Column to bin, if any.
        population: Column of codes or names, if any.

    Raises:
        ArtefactError: If there is no such column.
        DataError: If no magnitude is finite.
    """
    strata = {}
    if magnitude is not None:
        strata[magnitude] = magnitude_strata(embeddings.column(magnitude)[rows])
    if population is not None:
        strata[population] = embeddings.column(population)[rows]
    return strata


def magnitude_strata(magnitude: Array, *, bins: int = MAGNITUDE_BINS) -> Array:
    """Name each galaxy's magnitude bin, bins equally full, shape (n,); NaN has empty text.

    Raises:
        DataError: If no magnitude is finite.
    """
    finite = np.isfinite(magnitude)
    if not finite.any():
        raise DataError(
            f"none of {len(magnitude)} magnitudes is finite; set magnitude= to another column"
        )
    inner = np.unique(np.quantile(magnitude[finite], np.arange(1, bins) / bins))
    place = np.searchsorted(inner, np.where(finite, magnitude, 0), side="right")
    edges = [magnitude[finite].min(), *inner, magnitude[finite].max()]
    names = np.array([f"{edges[i]:.2f} to {edges[i + 1]:.2f}" for i in range(len(inner) + 1)])
    return np.where(finite, names[place], "")


def measure_strata(truth: Bools, score: Doubles, parts: Array) -> list[dict[str, Any]]:
    """Measure the list that is 90 % complete over all, in each part of the sample.

    Args:
        truth: Whether each galaxy is wanted, shape (n,).
        score: Higher means more likely, shape (n,).
        parts: The part each galaxy belongs to, shape (n,); NaN and empty text are left out.

    Returns:
        One mapping per part, in order: ``part``, ``n``, ``n_dwarfs``, and there ``purity`` and
        ``completeness`` of the list, None where it has no galaxy, or none is wanted.
    """
    if not truth.any():
        return []
    curve = PurityCurve.measure(truth, score)
    listed = score >= curve.score[curve.place_of(COMPLETENESS)]
    named = np.array(["" if one != one else str(one) for one in parts.tolist()])
    return [_of_part(name, named == name, truth, listed) for name in sorted(set(named) - {""})]


def _of_part(name: str, inside: Bools, truth: Bools, listed: Bools) -> dict[str, Any]:
    wanted, found = int((inside & truth).sum()), int((inside & listed).sum())
    both = int((inside & truth & listed).sum())
    return {
        "part": name,
        "n": int(inside.sum()),
        "n_dwarfs": wanted,
        "purity": both / found if found else None,
        "completeness": both / wanted if wanted else None,
    }
