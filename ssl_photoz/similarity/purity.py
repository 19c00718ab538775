"""Purity and completeness of a ranked list, measured where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.runs import atomic_path
from ssl_photoz.types import Bools, Doubles

COMPLETENESS = 0.9
RESAMPLINGS = 200


@dataclass(frozen=True)
class PurityCurve:
    """How pure a list is at each completeness, as its threshold is lowered.

    Attributes:
        completeness: Fraction of all dwarfs that are in the list, increasing, shape (m,).
        purity: Fraction of the list that are dwarfs, shape (m,).
        score: The threshold, decreasing, shape (m,).
        base_rate: Fraction of dwarfs among all: the purity of a random list.
    """

    completeness: Doubles
    purity: Doubles
    score: Doubles
    base_rate: float

    @classmethod
    def measure(cls, truth: Bools, score: Doubles) -> PurityCurve:
        """Measure the curve; galaxies of equal score enter the list together.

        Args:
            truth: Whether each galaxy is a dwarf, at least one is; shape (n,).
            score: Higher means more likely one; shape (n,).
        """
        from sklearn.metrics import precision_recall_curve

        purity, completeness, threshold = precision_recall_curve(truth, score)
        # scikit-learn closes the curve with a point (1, 0) that no threshold reaches.
        return cls(completeness[-2::-1], purity[-2::-1], threshold[::-1], float(truth.mean()))

    def purity_at(self, completeness: float) -> float:
        """Return the purity of the shortest list that is at least this complete."""
        return float(self.purity[np.argmax(self.completeness >= completeness)])


def measure_purity(truth: Bools, score: Doubles, *, seed: int = 0) -> dict[str, Any]:
    """Return the figures of a ranked list, with bootstrap standard errors.

    Args:
        truth: Whether each galaxy is a dwarf, shape (n,).
        score: Higher means more likely one, shape (n,).
        seed: Of the bootstrap.

    Returns:
        ``n``, ``n_dwarfs``, ``base_rate``, ``average_precision``,
        ``purity_at_90_completeness`` and ``enrichment_at_90_completeness`` (purity over base
        rate), each of the last three with ``_error``; None where there is no dwarf to find.
    """
    names = ("average_precision", "purity_at_90_completeness", "enrichment_at_90_completeness")
    counted: dict[str, Any] = {"n": len(truth), "n_dwarfs": int(truth.sum())}
    if not truth.any():
        blank = [*names, *(f"{name}_error" for name in names)]
        return {**counted, "base_rate": 0.0 if len(truth) else None, **dict.fromkeys(blank)}
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(truth), len(truth)) for _ in range(RESAMPLINGS)]
    errors = np.std([_figures(truth[d], score[d]) for d in drawn if truth[d].any()], axis=0)
    figures = dict(zip(names, _figures(truth, score), strict=True))
    spread = {f"{name}_error": float(e) for name, e in zip(names, errors, strict=True)}
    return {**counted, "base_rate": float(truth.mean()), **figures, **spread}


def draw_purity(path: Path, truth: Bools, score: Doubles, *, title: str) -> None:
    """Draw purity against completeness, and completeness against length of the list.

    Draws nothing where there is no dwarf to find.
    """
    if not truth.any():
        return
    from matplotlib.figure import Figure

    curve = PurityCurve.measure(truth, score)
    figure = Figure(figsize=(8.4, 3.5), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    completeness, purity = (
        np.append(0, curve.completeness),
        np.append(curve.purity[0], curve.purity),
    )
    left.step(completeness, purity, where="pre", color="#1864ab")
    left.axhline(curve.base_rate, color="0.5", linestyle="--", linewidth=1)
    left.text(0.01, curve.base_rate + 0.015, "random list", fontsize=8, color="0.4")
    at_90 = curve.purity_at(COMPLETENESS)
    left.plot([COMPLETENESS], [at_90], "o", color="#d9480f", markersize=5)
    note, below = f"{at_90:.2f} at 90 %", at_90 > 0.5
    left.text(
        COMPLETENESS - 0.03, at_90 + (-0.04 if below else 0.04), note, color="#d9480f",
        fontsize=8, ha="right", va="top" if below else "bottom",
    )  # fmt: skip
    left.set(xlabel="completeness", ylabel="purity", xlim=(0, 1.02), ylim=(0, 1.05))
    share = completeness * curve.base_rate / np.maximum(purity, 1e-12)
    right.plot(share, completeness, color="#1864ab", label="ranked by look-alikes")
    right.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="random list")
    right.set(xlabel="fraction of galaxies followed up", ylabel="completeness", ylim=(0, 1.05))
    right.legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, metadata={"Software": None})


def _figures(truth: Bools, score: Doubles) -> tuple[float, float, float]:
    from sklearn.metrics import average_precision_score

    curve = PurityCurve.measure(truth, score)
    purity = curve.purity_at(COMPLETENESS)
    return float(average_precision_score(truth, score)), purity, purity / curve.base_rate
