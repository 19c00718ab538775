"""Settings of the redshift programs; they load no heavy library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_photoz.core.errors import ConfigError

ProbeName = Literal["knn", "ridge", "svr", "mlp", "blend", "boosting"]
Features = Literal["embedding", "measurements", "learnt", "aperture", "both"]
Method = Literal["knn", "mlp"]
Point = Literal["mode", "mean"]
Expected = Literal["magnitudes", "photoz"]
Draw = Literal["all", "weighted", "representative"]
LabelKind = Literal["spectroscopic", "verdict", "photometric"]
LABEL_KINDS: tuple[LabelKind, ...] = ("spectroscopic", "verdict", "photometric")
Step = Literal["channels", "balanced", "extended", "calibrated"]
STEPS: tuple[Step, ...] = ("channels", "balanced", "extended", "calibrated")


@dataclass(frozen=True)
class SampleConfig:
    """Which galaxies are used, and what is read of them.

    Attributes:
        features: Vectors that are read: the embedding; its measurements or its learnt numbers
            alone; aperture photometry (the reference); or both, embedding and apertures.
        label: Name of these features in tables and figures.
        magnitude: Column to bin scores, or to correct, by, such as mag_r.
        labels: Number of training galaxies, drawn at random; all by default. Validation keeps all.
        contaminated: Whether to score, marked as CONTAMINATED, an encoder that has learnt from the
            redshifts it is scored on.
        seed: Seed of every random choice.
    """

    features: Features = "embedding"
    label: str = "frozen embedding"
    magnitude: str | None = None
    labels: int | None = None
    contaminated: Literal["refuse", "allow"] = "refuse"
    seed: int = 0


@dataclass(frozen=True)
class LabelConfig:
    """Where labels come from, and how the training labels stand for the whole sample.

    Cells are those of a self-organising map of all galaxies of the embeddings.

    Attributes:
        sources: YAML of label sources, or a folder that merge_labels has written; the redshifts
            of the embeddings alone by default.
        draw: Training labels as they are; all of them, weighted by galaxies per label of their
            cell; or chosen so that each cell has its share, better labels first, and weighted
            where there are too few.
        most_weight: Greatest weight of a label, in units of the mean.
        smooth: Whether each label counts as a Gaussian as wide as its error, for densities; other
            probes weight labels by it.
        side: Cells along a side of the map; by default as many as leave ten labels to a cell, and
            40 at most.
    """

    sources: Path | str | None = None
    draw: Draw = "all"
    most_weight: float = 5.0
    smooth: bool = False
    side: int | None = None

    def __post_init__(self) -> None:
        if not self.most_weight >= 1 or (self.side is not None and self.side < 1):
            raise ConfigError(
                f"most_weight={self.most_weight} side={self.side}: expected at least 1 each"
            )


@dataclass(frozen=True)
class DensityConfig:
    """How redshift densities are made, and for which galaxies.

    Attributes:
        method: Kernels on the neighbours (knn), or a mixture density network (mlp).
        seeing: Column to bin residuals by, such as psfsize; bands are averaged.
        rows: Galaxies in the table: the labelled of the test split, or unseen: those without a
            redshift as well.
        qp: Whether to write qp.hdf5 too, an ensemble of the qp library.
    """

    method: Method = "mlp"
    seeing: str | None = None
    rows: Literal["test", "unseen"] = "test"
    qp: bool = False


@dataclass(frozen=True)
class CorrectionConfig:
    """The four steps against residuals that depend on redshift.

    Attributes:
        steps: Steps to take: an output channel per range of magnitude; the output layer fitted
            again to a nearly balanced subset; again to softened, moved labels over more bins;
            calibration in cells of magnitude and estimate. Each is scored with those before it.
        bins: Number of redshift bins, equally wide in ln(1+z).
        channels: Number of channels of magnitude.
        kept: Part of the training galaxies in the nearly balanced subset.
        point: Estimate: the most probable bin, or the mean of the probabilities.
        expected: Distribution that the last step resamples to: training redshifts at the
            magnitudes of the galaxies to be corrected, or their own estimates.
    """

    steps: tuple[Step, ...] = STEPS
    bins: int = 100
    channels: int = 4
    kept: float = 0.33
    point: Point = "mean"
    expected: Expected = "magnitudes"

    def __post_init__(self) -> None:
        if not self.steps:
            raise ConfigError("steps is empty, expected any of the four; see --help")
        if self.channels < 2 or self.bins < 2 or not 0 < self.kept <= 1:
            raise ConfigError(
                f"channels={self.channels} bins={self.bins} kept={self.kept}: expected at least 2 "
                f"channels, 2 bins, and a part between 0 and 1"
            )
