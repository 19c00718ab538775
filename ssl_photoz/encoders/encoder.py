"""The encoder: stretch and backbone, and what it may be fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_photoz.core.artefact import Card
from ssl_photoz.core.compatible import differences
from ssl_photoz.core.errors import ConfigError, MismatchError, ShapeError
from ssl_photoz.encoders.backbones import make_backbone
from ssl_photoz.encoders.stretch import Stretch
from ssl_photoz.encoders.viewer_slip import ViewerSlip, softening_of

DISPLAY_SOFTENING = 0.25  # display values lie between 0 and 1


class EncoderCard(Card):
    """What the card of an encoder says."""

    @property
    def split(self) -> dict[str, Any]:
        """The sky split that was kept with it; empty for an encoder of another project."""
        return dict(self.get("split") or {})

    @property
    def steps(self) -> int | None:
        """Steps that it was trained for; None where that is not known."""
        steps = self.get("steps")
        return None if steps is None else int(steps)

    @property
    def labels_seen(self) -> list[Any]:
        """Ids of the galaxies whose redshifts it has learnt from."""
        return list(self.get("labels_seen", ()))


class Encoder(nn.Module):
    """Flux cutouts in, features out.

    An encoder that was read from its folder has a ``card``, and the ``sha256`` by which its
    children name it; those of a fresh one are empty.

    Args:
        backbone: ``resnet18``, ``resnet50``, ``multimodal``, or ``timm/`` and a name.
        stem: ``standard`` or ``small``.
        bands: Names of the bands, in the order of the input's channels.
        pixscale_arcsec: Pixel scale of the input.
        crop_px: Side of the input.
        calibrated: Whether the input is flux in nanomaggies per pixel or display values.
        softening: Of the stretch, per band, in the unit of the input.
        modalities: Of ``multimodal``, see `make_multimodal`; nothing to any other backbone.
        stretch: ``asinh`` (of flux; display values are linear) or ``viewer_slip``.

    Raises:
        ConfigError: If ``viewer_slip`` is wanted for display values.
    """

    def __init__(
        self,
        *,
        backbone: str,
        stem: str,
        bands: Sequence[str],
        pixscale_arcsec: float,
        crop_px: int,
        calibrated: bool,
        softening: Sequence[float],
        modalities: Mapping[str, Any] | None = None,
        stretch: str = "asinh",
    ) -> None:
        super().__init__()
        self.card = EncoderCard()
        self.sha256 = ""
        if len(softening) != len(bands):
            raise ShapeError(f"softening has {len(softening)} values for {len(bands)} bands")
        if stretch == "viewer_slip" and not calibrated:
            raise ConfigError("stretch viewer_slip is of flux, these are display values; use asinh")
        self.description: dict[str, Any] = {
            "backbone": backbone,
            "stem": stem,
            "bands": list(bands),
            "pixscale_arcsec": float(pixscale_arcsec),
            "crop_px": int(crop_px),
            "calibrated": bool(calibrated),
            "softening": [float(s) for s in softening],
        }
        if backbone == "multimodal":
            self.description["modalities"] = dict(modalities or {})
        if stretch != "asinh":
            self.description["stretch"] = stretch
        self.input_shape = (len(bands), crop_px, crop_px)
        slip = stretch == "viewer_slip"
        self.stretch = ViewerSlip(softening) if slip else Stretch(softening, calibrated=calibrated)
        self.backbone = make_backbone(backbone, bands=len(bands), stem=stem, modalities=modalities)

    @property
    def width(self) -> int:
        """Number of features of the last stage."""
        width: int = self.backbone.widths[-1]
        return width

    def maps(self, flux: Tensor) -> list[Tensor]:
        """Return the maps of all stages for flux (B, C, crop, crop).

        Raises:
            ShapeError: If the input is not of the bands and crop the encoder was made for.
        """
        if flux.ndim != 4 or tuple(flux.shape[1:]) != self.input_shape:
            raise ShapeError(
                f"encoder takes (B, {', '.join(map(str, self.input_shape))}) "
                f"[bands {','.join(self.description['bands'])}], got {tuple(flux.shape)}"
            )
        maps: list[Tensor] = self.backbone(self.stretch(flux))
        return maps

    def forward(self, flux: Tensor) -> Tensor:
        """Return the mean of the last stage's map, (B, width)."""
        return self.maps(flux)[-1].mean(dim=(2, 3))

    def require(
        self, *, bands: Sequence[str], pixscale_arcsec: float, calibrated: bool, size_px: int
    ) -> None:
        """Check that a source of cutouts is what the encoder was made for.

        Raises:
            MismatchError: If it is not, naming both sides.
        """
        theirs: dict[str, Any] = {"bands": list(bands), "calibrated": calibrated}
        theirs |= {"pixscale_arcsec": float(pixscale_arcsec)}
        mine = {name: self.description[name] for name in theirs}
        for name in differences(mine, theirs):
            raise MismatchError(
                f"the encoder was trained with {name} = {mine[name]}, these cutouts have "
                f"{name} = {theirs[name]}; use cutouts like the encoder's, or another encoder"
            )
        if size_px < self.input_shape[-1]:
            raise MismatchError(
                f"the encoder sees crops of {self.input_shape[-1]} px, these cutouts are "
                f"{size_px} px; use larger cutouts, or an encoder with a smaller crop_px"
            )


def fresh_encoder(
    *,
    seed: int,
    backbone: str,
    stem: str,
    bands: Sequence[str],
    pixscale_arcsec: float,
    crop_px: int,
    calibrated: bool,
    softening: Sequence[float],
    modalities: Mapping[str, Any] | None = None,
    stretch: str = "asinh",
) -> Encoder:
    """Build an encoder with random weights that depend on the seed alone.

    Args:
        seed: Of the weights; the global random state is left as it was.
        backbone: ``resnet18``, ``resnet50``, ``multimodal``, or ``timm/`` and a name.
        stem: ``standard`` or ``small``.
        bands: Names of the bands.
        pixscale_arcsec: Pixel scale of the input.
        crop_px: Side of the input.
        calibrated: Whether the input is flux or display values.
        softening: An 8-bit source gets `DISPLAY_SOFTENING` in every band instead, the stretch
            ``viewer_slip`` its own.
        modalities: Of ``multimodal``, see `make_multimodal`.
        stretch: See `Encoder`.

    Raises:
        ConfigError: If the source has no single pixel scale, or no such stretch.
    """
    if not pixscale_arcsec > 0:
        raise ConfigError(
            f"an encoder needs cutouts of one pixel scale, these have {pixscale_arcsec}; state "
            f"pixscale_arcsec in the file, or resample the cutouts"
        )
    if not calibrated:
        softening = [DISPLAY_SOFTENING] * len(bands)
    elif stretch == "viewer_slip":
        softening = softening_of(bands)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder(
            backbone=backbone,
            stem=stem,
            bands=bands,
            pixscale_arcsec=pixscale_arcsec,
            crop_px=crop_px,
            calibrated=calibrated,
            softening=softening,
            modalities=modalities,
            stretch=stretch,
        )
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
