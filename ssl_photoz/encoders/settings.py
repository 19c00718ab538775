"""What an encoder is built from; no torch here, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass

BACKBONES = ("resnet18", "resnet50")
STEMS = ("standard", "small")
HALVINGS = {"standard": 5, "small": 3}


@dataclass(frozen=True)
class EncoderSettings:
    """The encoder.

    Attributes:
        backbone: resnet18, resnet50, or timm/ and the name of a network of timm, such as
            timm/convnext_nano (extra timm).
        stem: Of a ResNet: standard (7x7 stride 2 and pooling) or small (3x3 stride 1, for cutouts
            of about 32 px).
        crop_px: Side of the square the encoder sees, pixels.
        softening: Where the asinh stretch turns from linear to logarithmic, in units of the
            survey's noise per pixel. Not used for 8-bit sources.
    """

    backbone: str = "resnet18"
    stem: str = "standard"
    crop_px: int = 64
    softening: float = 3.0

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
        if not self.softening > 0:
            raise ValueError(f"softening is {self.softening}, expected a positive number")


@dataclass(frozen=True)
class ReadOutSettings:
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
