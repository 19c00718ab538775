"""The build of an encoder; no torch here, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ssl_photoz.core.errors import ConfigError

BACKBONES = ("resnet18", "resnet50", "multimodal")
STEMS = ("standard", "small")
STRETCHES = ("asinh", "viewer_slip")
READ_OUTS = ("auto", "blocks", "measurements", "learnt", "all", "last")
HALVINGS = {"standard": 5, "small": 3}
WIDEST_OF_HALF_SIDE = 0.6  # sigma of the widest window, over half of the side of the crop


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
class MeasurementConfig:
    """What an encoder measures of a galaxy's light, with nothing trained.

    Attributes:
        windows: Number of Gaussian windows; 0: no measurements.
        narrowest_arcsec: Sigma of the narrowest window, arcsec.
        widest_arcsec: Sigma of the widest window, arcsec; narrower where the crop is small.
        shapes: Number of windows in which sizes and ellipticities are measured.
        scales_px: Scales of textures and fluctuations, pixels, each twice the one before.
        conditions: Whether the object's own PSF and noise are among the numbers.
    """

    windows: int = 12
    narrowest_arcsec: float = 0.5
    widest_arcsec: float = 4.8
    shapes: int = 3
    scales_px: tuple[float, ...] = (1.0, 2.0, 4.0)
    conditions: bool = True

    def __post_init__(self) -> None:
        if self.windows == 0:
            return
        if self.windows < 2 or not 0 <= self.shapes <= self.windows:
            raise ValueError(
                f"measurements: windows is {self.windows} and shapes {self.shapes}, expected 0 or "
                f"at least 2 windows, and no more shapes than windows"
            )
        if not 0 < self.narrowest_arcsec < self.widest_arcsec:
            raise ValueError(
                f"measurements: narrowest_arcsec is {self.narrowest_arcsec} and widest_arcsec "
                f"{self.widest_arcsec}, expected 0 < narrowest < widest"
            )
        doubled = tuple(2 * scale for scale in self.scales_px[:-1])
        if any(scale <= 0 for scale in self.scales_px) or self.scales_px[1:] != doubled:
            raise ValueError(
                f"measurements: scales_px is {self.scales_px}, expected positive scales, each "
                f"twice the one before"
            )

    def sigmas_arcsec(self, half_side_arcsec: float) -> tuple[float, ...]:
        """Sigma of each window, arcsec, in equal ratios.

        Raises:
            ConfigError: If the narrowest is wider than the crop allows the widest to be.
        """
        widest = min(self.widest_arcsec, half_side_arcsec * WIDEST_OF_HALF_SIDE)
        if not self.narrowest_arcsec < widest:
            raise ConfigError(
                f"measurements.narrowest_arcsec is {self.narrowest_arcsec}, the widest window in a "
                f"crop of {2 * half_side_arcsec:.3g} arcsec is {widest:.3g}; narrow it, or widen "
                f"crop_px"
            )
        ratio = (widest / self.narrowest_arcsec) ** (1 / (self.windows - 1))
        return tuple(self.narrowest_arcsec * ratio**n for n in range(self.windows))

    @property
    def shape_windows(self) -> tuple[int, ...]:
        """Which windows shapes are measured in: evenly spread, without the ends."""
        return tuple(
            round((n + 1) * (self.windows - 1) / (self.shapes + 1)) for n in range(self.shapes)
        )


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
        measurements: What is measured of the flux itself, beside what is learnt.
        learnt_dim: Numbers that are learnt; 0: the features of the network's stages as they are.
        extinction_corrected: Correct flux and noise for Galactic extinction, with each galaxy's own
            E(B-V), wherever that is known. Not used for 8-bit sources.
    """

    backbone: str = "resnet18"
    stem: str = "standard"
    crop_px: int = 64
    softening: float = 3.0
    modalities: ModalityConfig = field(default_factory=ModalityConfig)
    stretch: str = "asinh"
    measurements: MeasurementConfig = field(default_factory=MeasurementConfig)
    learnt_dim: int = 32
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
        if self.learnt_dim < 0 or self.learnt_dim == 1:
            raise ValueError(f"learnt_dim is {self.learnt_dim}, expected 0 or at least 2")
        if not self.softening > 0:
            raise ValueError(f"softening is {self.softening}, expected a positive number")


def plain(**build: Any) -> EncoderConfig:  # noqa: ANN401 (the fields of EncoderConfig)
    """Build of an encoder that neither measures nor has a bottleneck, for networks with heads."""
    return EncoderConfig(measurements=MeasurementConfig(windows=0), learnt_dim=0, **build)


@dataclass(frozen=True)
class ReadOutConfig:
    """How an embedding is read from the network.

    Attributes:
        stages: blocks (the measurements and the learnt numbers), measurements, learnt, all (every
            stage's pooled features), last, or auto: blocks where the encoder has them, else all.
        orientations: Average over 1, 2, 4 or 8 of the square's exact symmetries; the cost
            grows in proportion. Measurements are the same in all; beside them more than one brings
            nothing (benchmarks/blocks).
    """

    stages: str = "auto"
    orientations: int = 1

    def __post_init__(self) -> None:
        if self.stages not in READ_OUTS:
            raise ValueError(f"stages is {self.stages!r}, expected one of {', '.join(READ_OUTS)}")
        if self.orientations not in (1, 2, 4, 8):
            raise ValueError(f"orientations is {self.orientations}, expected 1, 2, 4 or 8")
