"""The build of an encoder; no torch here, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

BACKBONES = ("resnet18", "resnet50", "multimodal")
STEMS = ("standard", "small")
STRETCHES = ("asinh", "viewer_slip")
HALVINGS = {"standard": 5, "small": 3}


@dataclass(frozen=True)
class ModalityConfig:
    """The branches of a multimodal network (Ait Ouahmed et al. 2024, A&A 683, A26).

    Attributes:
        size: Bands in each branch.
        order: Places that its neighbouring bands may be apart; 1: next to each other.
        fusion: Stage after which branches merge: early, middle or late (after stage 1, 2 or 4).
        width: Channels of a branch's first stage; they double from stage to stage.
        dropout: Chance of each branch of a galaxy to be left out in training.
        one_branch: The twin to compare with: one branch of all bands with as many weights.
    """

    size: int = 2
    order: int = 1
    fusion: Literal["early", "middle", "late"] = "middle"
    width: int = 32
    dropout: float = 0.0
    one_branch: bool = False

    def __post_init__(self) -> None:
        if min(self.size, self.order, self.width) < 1:
            raise ValueError("modalities: size, order and width must be >= 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"modalities: dropout is {self.dropout}, expected 0 to less than 1")
        if self.one_branch and self.dropout:
            raise ValueError("modalities: one_branch has no branches for dropout to leave out")


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder.

    Attributes:
        backbone: resnet18, resnet50, multimodal, or timm/ and the name of a network of timm, such
            as timm/convnext_nano (extra timm).
        stem: First layers of all but timm's: standard (7x7 stride 2 and pooling) or small (3x3
            stride 1, for cutouts of about 32 px).
        crop_px: Side of the square the encoder sees, pixels.
        softening: Flux at which the asinh stretch turns from linear to logarithmic, in units of the
            survey's noise per pixel. Not used for 8-bit sources, nor by viewer_slip.
        stretch: asinh, or viewer_slip: that of ssl-legacysurvey, to repeat or to fine-tune its
            networks.
        modalities: Branches of the multimodal backbone.
        extinction_corrected: Correct flux and noise for Galactic extinction, with each galaxy's own
            E(B-V), wherever that is known. Not used for 8-bit sources.
    """

    backbone: str = "resnet18"
    stem: str = "standard"
    crop_px: int = 64
    softening: float = 3.0
    modalities: ModalityConfig = field(default_factory=ModalityConfig)
    stretch: str = "asinh"
    extinction_corrected: bool = True

    def __post_init__(self) -> None:
        from_timm = self.backbone.startswith("timm/")
        if self.backbone not in BACKBONES and not from_timm:
            raise ValueError(
                f"backbone {self.backbone!r} is not one of {', '.join(BACKBONES)}, timm/NAME"
            )
        if from_timm and self.stem != "standard":
            raise ValueError(f"stem is {self.stem!r}: {self.backbone} has a stem of its own")
        if self.stem not in STEMS:
            raise ValueError(f"stem {self.stem!r} is not one of {', '.join(STEMS)}")
        fewest = 2 ** HALVINGS[self.stem] + 1
        if self.crop_px < fewest:
            raise ValueError(
                f"crop_px is {self.crop_px}: the last stage would see a single pixel; expected "
                f"at least {fewest} with the {self.stem} stem"
            )
        if self.stretch not in STRETCHES:
            raise ValueError(f"stretch {self.stretch!r} is not one of {', '.join(STRETCHES)}")
        if not self.softening > 0:
            raise ValueError(f"softening is {self.softening}, expected a positive number")


@dataclass(frozen=True)
class ReadOutConfig:
    """How an embedding is read from the network.

    Attributes:
        stages: all (every stage's pooled features) or last.
        orientations: Average over 1, 2, 4 or 8 of the square's exact symmetries; the cost
            grows in proportion.
    """

    stages: str = "all"
    orientations: int = 8

    def __post_init__(self) -> None:
        if self.stages not in ("all", "last"):
            raise ValueError(f"stages is {self.stages!r}, expected all or last")
        if self.orientations not in (1, 2, 4, 8):
            raise ValueError(f"orientations is {self.orientations}, expected 1, 2, 4 or 8")
