"""What a network is, what it is asked for, and how it is trained; no torch, ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.settings import EncoderConfig, plain

NetworkName = Literal["resnet", "multimodal", "small_cnn", "capsules"]
# Encoders with a head on them, and the backbone that each name stands for; None: any.
ENCODERS: dict[str, str | None] = {"resnet": None, "multimodal": "multimodal"}


@dataclass(frozen=True)
class SupervisedConfig:
    """A training on redshifts.

    Attributes:
        labels: Number of training galaxies, drawn at random; null: all. Validation keeps all.
        clip_sigma: Greatest distance of a redshift from the mean of the training redshifts, in
            their standard deviations; null: no limit.
        epochs: Greatest number of epochs; after each, validation is scored. In each, every galaxy
            is seen at least once.
        least_steps: Least number of steps in all; with few labels an epoch is several passes.
        patience: Number of epochs without a better validation score after which to stop.
        batch_size: Greatest number of labelled galaxies per step; fewer with few labels.
        learning_rate: Peak learning rate of AdamW.
        trunk_learning_rate: Learning rate of the convolutions, as a multiple of learning_rate;
            below 1 spares a pretrained encoder.
        weight_decay: AdamW weight decay.
        orientations: Number of exact orientations that predictions are averaged over.
        seed: Seed of the choice of labels, the weights, the order and every augmentation.
    """

    labels: int | None = None
    clip_sigma: float | None = None
    epochs: int = 30
    least_steps: int = 2000
    patience: int = 15
    batch_size: int = 256
    learning_rate: float = 1e-3
    trunk_learning_rate: float = 1.0
    weight_decay: float = 0.01
    orientations: Literal[1, 2, 4, 8] = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience) < 1 or self.batch_size < 2:
            raise ConfigError("epochs and patience must be >= 1, batch_size >= 2")
        if min(self.learning_rate, self.trunk_learning_rate) <= 0 or self.weight_decay < 0:
            raise ConfigError(
                "learning_rate and trunk_learning_rate must be > 0, weight_decay >= 0"
            )


@dataclass(frozen=True)
class NearbyConfig:
    """A classifier of nearby galaxies, and what it is compared with.

    Attributes:
        z_max: Redshift below which a galaxy is nearby.
        balance: How the few nearby galaxies are balanced with the many others: focal (galaxies
            that are classified rightly count little), weighted (both kinds count the same in sum)
            or none.
        gamma: Exponent of the focal loss.
        embeddings: Embeddings of the same cutouts and sky split, for a classifier on frozen
            embeddings to compare with.
        cuts: Columns of r, g and maybe radius (arcsec), for photometric cuts to compare with.
        base_rate: Fraction of galaxies on the sky that are nearby.
    """

    z_max: float = 0.03
    balance: Literal["focal", "weighted", "none"] = "focal"
    gamma: float = 2.0
    embeddings: Path | None = None
    cuts: tuple[str, ...] = ()
    base_rate: float = 0.01

    def __post_init__(self) -> None:
        if self.z_max <= 0 or self.gamma < 0:
            raise ConfigError("nearby.z_max must be > 0, nearby.gamma >= 0")
        if len(self.cuts) not in (0, 2, 3) or not 0 < self.base_rate < 1:
            raise ConfigError("cuts names columns of r, g and maybe radius; base_rate is in (0, 1)")


@dataclass(frozen=True)
class HeadConfig:
    """What a network is asked for.

    Attributes:
        kind: regression (of ln(1+z)), bins (classification over redshift bins, which gives a
            probability density) or nearby (the probability of a low redshift).
        bins: Number of bins, of equal width in ln(1+z), from the least to the greatest training
            redshift.
        label_width: Standard deviation, in bins, of the Gaussian that a true redshift becomes;
            0: its bin alone.
        nearby: The classifier of kind nearby.
    """

    kind: Literal["regression", "bins", "nearby"] = "regression"
    bins: int = 100
    label_width: float = 0.0
    nearby: NearbyConfig = field(default_factory=NearbyConfig)

    def __post_init__(self) -> None:
        if self.bins < 2 or self.label_width < 0:
            raise ConfigError("head.bins must be >= 2, head.label_width >= 0")


@dataclass(frozen=True)
class SmallCNNConfig:
    """The small network of the SDSS papers.

    Attributes:
        binning: Pixels per side whose mean makes one of its 32 x 32 pixels.
    """

    binning: int = 1

    def __post_init__(self) -> None:
        if self.binning < 1:
            raise ConfigError(f"small_cnn.binning is {self.binning}, expected >= 1")


@dataclass(frozen=True)
class CapsuleConfig:
    """The capsule network.

    Attributes:
        crop_px: Side of the square that it sees, pixels; a multiple of 16.
        types: Number of kinds of capsules at each place of a map.
        atoms: Length of each of these capsules.
        classes: Number of classes of galaxies, by the concentration of their light; each has a
            capsule.
        dim: Length of the capsule of a class.
        routings: Rounds of routing by agreement.
        margin: Weight of the loss that makes the capsule of a galaxy's own class the longest.
        reconstruction: Weight of the mean square error of the cutout drawn from that capsule.
    """

    crop_px: int = 64
    types: int = 8
    atoms: int = 8
    classes: int = 2
    dim: int = 16
    routings: int = 3
    margin: float = 0.5
    reconstruction: float = 0.1

    def __post_init__(self) -> None:
        if self.crop_px < 16 or self.crop_px % 16:
            raise ConfigError(f"capsules.crop_px is {self.crop_px}, expected 16, 32, ...")
        if min(self.types, self.atoms, self.classes, self.dim, self.routings) < 1:
            raise ConfigError("capsules: sizes and routings must be >= 1")
        if min(self.margin, self.reconstruction) < 0:
            raise ConfigError("capsules: margin and reconstruction must be >= 0")


@dataclass(frozen=True)
class ModelConfig:
    """A network, and how it is built.

    Attributes:
        network: resnet (any encoder with a head), multimodal, small_cnn or capsules.
        without: Bands that the network does not see.
        encoder: The encoder of resnet and multimodal, where it is trained from scratch; every
            network takes its softening.
        small_cnn: The network small_cnn.
        capsules: The network capsules.
    """

    network: NetworkName = "resnet"
    without: tuple[str, ...] = ()
    encoder: EncoderConfig = field(default_factory=plain)
    small_cnn: SmallCNNConfig = field(default_factory=SmallCNNConfig)
    capsules: CapsuleConfig = field(default_factory=CapsuleConfig)


@dataclass(frozen=True)
class BandsConfig:
    """How much a network gets from each band.

    Attributes:
        measure: Whether to measure that, on the network's own test galaxies, instead of predicting
            redshifts; each band is shuffled among the galaxies, and set to zero.
        left_out: Folders of the same training without one band each, to compare with.
        draws: Number of shuffles of each band.
        seed: Seed of the shuffles.
    """

    measure: bool = False
    left_out: tuple[Path, ...] = ()
    draws: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ConfigError(f"bands.draws is {self.draws}, expected >= 1")
