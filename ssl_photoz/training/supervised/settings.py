"""Which networks there are, and what they are asked for; no torch here, ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ssl_photoz.core.errors import ConfigError

NetworkName = Literal["resnet", "multimodal", "small_cnn", "capsules"]
# Names of encoders with a head on them, to the backbone that a name stands for; None: any.
ENCODERS: dict[str, str | None] = {"resnet": None, "multimodal": "multimodal"}


@dataclass(frozen=True)
class HeadConfig:
    """What a network is asked for.

    Attributes:
        kind: regression (of ln(1+z)) or bins (classification over redshift bins, which gives a
            probability density).
        bins: Of equal width in ln(1+z), from the least to the greatest training redshift.
        label_width: Of bins: sigma of the Gaussian that a true redshift becomes, in bins; 0: the
            one bin that it is in.
    """

    kind: Literal["regression", "bins"] = "regression"
    bins: int = 100
    label_width: float = 0.0

    def __post_init__(self) -> None:
        if self.bins < 2 or self.label_width < 0:
            raise ConfigError("head.bins must be >= 2, head.label_width >= 0")


@dataclass(frozen=True)
class NearbyConfig:
    """What a classifier of nearby galaxies is asked for, and how it is taught.

    Attributes:
        z_max: Nearby means a redshift below this.
        balance: Of the few with the many: focal (what is answered rightly counts little), weighted
            (both kinds count the same in sum) or none.
        gamma: Of focal: how little.
    """

    z_max: float = 0.03
    balance: Literal["focal", "weighted", "none"] = "focal"
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if self.z_max <= 0 or self.gamma < 0:
            raise ConfigError("nearby.z_max must be > 0, nearby.gamma >= 0")


@dataclass(frozen=True)
class SmallCNNConfig:
    """The small network of the SDSS papers.

    Attributes:
        binning: Pixels a side whose mean makes one of its 32 x 32.
    """

    binning: int = 1

    def __post_init__(self) -> None:
        if self.binning < 1:
            raise ConfigError(f"networks.small_cnn.binning is {self.binning}, expected >= 1")


@dataclass(frozen=True)
class CapsuleConfig:
    """The capsule network.

    Attributes:
        crop_px: Side of the square that it sees, pixels; a multiple of 16.
        types: Kinds of capsules at each place of a map.
        atoms: Numbers in each of them.
        classes: Of galaxies, by how concentrated their light is; each has a capsule.
        dim: Numbers in the capsule of a class.
        routings: Rounds of routing by agreement.
        margin: Weight of the loss that has the capsule of a galaxy's class be the longest.
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
            raise ConfigError(f"networks.capsules.crop_px is {self.crop_px}, expected 16, 32, ...")
        if min(self.types, self.atoms, self.classes, self.dim, self.routings) < 1:
            raise ConfigError("networks.capsules: sizes and routings must be >= 1")
        if min(self.margin, self.reconstruction) < 0:
            raise ConfigError("networks.capsules: margin and reconstruction must be >= 0")


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of each network that has its own; an encoder's are elsewhere.

    Attributes:
        small_cnn: Of network=small_cnn.
        capsules: Of network=capsules.
    """

    small_cnn: SmallCNNConfig = field(default_factory=SmallCNNConfig)
    capsules: CapsuleConfig = field(default_factory=CapsuleConfig)
