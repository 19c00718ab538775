"""The encoder: stretch and backbone, and what it may be fed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ssl_photoz.core.artefact import Card
from ssl_photoz.core.errors import ConfigError, MismatchError, ShapeError
from ssl_photoz.core.inputs import differences
from ssl_photoz.core.types import Array, Floats, PathLike
from ssl_photoz.encoders.backbones import make_backbone
from ssl_photoz.encoders.measurements import Measurements
from ssl_photoz.encoders.readout import CutoutReader, embed_array
from ssl_photoz.encoders.settings import (
    EncoderConfig,
    MeasurementConfig,
    ModalityConfig,
    ReadOutConfig,
)
from ssl_photoz.encoders.stretch import Stretch, ViewerSlip, softening_of

DISPLAY_SOFTENING = 0.25  # display values lie between 0 and 1
WITH_EBV = "use cutouts that state E(B-V), which `convert dust=auto` adds from a dust map"
AS_STORED = "use cutouts as they are stored"


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

    Args:
        config: The architecture; ``config.softening`` is not used here.
        bands: Names of the bands, in the order of the input's channels.
        pixscale_arcsec: Pixel scale of the input, arcsec per pixel.
        calibrated: Whether the input is flux in nanomaggies per pixel or display values.
        softening: Softening of the stretch per band, in the unit of the input.
        noise: Typical noise per pixel of each band, for the measurements; by default a third of
            the softening.
        extinction_corrected: Whether the input is corrected for Galactic extinction;
            ``config.extinction_corrected`` says only whether that is wanted.

    Attributes:
        card: The card of its folder; empty for an encoder that was not read from one.
        sha256: Checksum by which its children name it; empty likewise.
        description: What `from_description` builds it from, ready for JSON.
        input_shape: Bands and pixels that it takes, (C, crop, crop).
        measurements: What it measures of flux; None: nothing.
        bottleneck: From the features of the last stage, (B, width), to the numbers that are learnt,
            (B, learnt_dim); without, the features themselves.

    Raises:
        ShapeError: If there is not one softening per band.
        ConfigError: If the stretch ``viewer_slip`` is wanted for display values.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        bands: Sequence[str],
        pixscale_arcsec: float,
        calibrated: bool,
        softening: Sequence[float],
        noise: Sequence[float] = (),
        extinction_corrected: bool = False,
    ) -> None:
        super().__init__()
        self.card = EncoderCard()
        self.sha256 = ""
        self.config = replace(config, extinction_corrected=extinction_corrected)
        if len(softening) != len(bands):
            raise ShapeError(f"softening has {len(softening)} values for {len(bands)} bands")
        slip = config.stretch == "viewer_slip"
        if slip and not calibrated:
            raise ConfigError("stretch viewer_slip is of flux, these are display values; use asinh")
        if extinction_corrected and not calibrated:
            raise ConfigError("display values are never corrected for extinction")
        self.description: dict[str, Any] = {
            "backbone": config.backbone,
            "stem": config.stem,
            "bands": list(bands),
            "pixscale_arcsec": float(pixscale_arcsec),
            "crop_px": config.crop_px,
            "calibrated": bool(calibrated),
            "softening": [float(s) for s in softening],
        }
        if config.backbone == "multimodal":
            self.description["modalities"] = asdict(config.modalities)
        if slip:
            self.description["stretch"] = config.stretch
        if extinction_corrected:
            self.description["extinction_corrected"] = True
        self.input_shape = (len(bands), config.crop_px, config.crop_px)
        self.measurements: Measurements | None = None
        noise = [float(sigma) for sigma in noise] or [value / 3 for value in softening]
        if config.measurements.windows:
            self.description["measurements"] = {
                **asdict(config.measurements),
                "noise": noise,
            }
            self.measurements = Measurements(
                config.measurements,
                bands=bands,
                size_px=config.crop_px,
                pixscale_arcsec=pixscale_arcsec,
                calibrated=calibrated,
                noise=noise,
            )
        self.stretch = ViewerSlip(softening) if slip else Stretch(softening, calibrated=calibrated)
        self.backbone = make_backbone(config, bands=len(bands))
        self.bottleneck: nn.Module = nn.Identity()
        if config.learnt_dim:
            self.description["learnt_dim"] = config.learnt_dim
            self.bottleneck = nn.Sequential(
                nn.Linear(self.width, config.learnt_dim, bias=False),
                nn.BatchNorm1d(config.learnt_dim, affine=False),
            )

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Encoder with random weights from what a card says of one.

        Raises:
            KeyError, TypeError, ValueError: If it is no such description.
        """
        description = {"extinction_corrected": False, **description}
        about = ("bands", "pixscale_arcsec", "calibrated", "softening", "extinction_corrected")
        built = {name: value for name, value in description.items() if name not in about}
        built["modalities"] = ModalityConfig(**built.get("modalities", {}))
        # Encoders made before there were measurements say nothing of them.
        measured = dict(built.get("measurements", {"windows": 0}))
        noise = measured.pop("noise", ())
        measured["scales_px"] = tuple(measured.get("scales_px", ()))
        built["measurements"] = MeasurementConfig(**measured)
        built.setdefault("learnt_dim", 0)
        told = {name: description[name] for name in about}
        return cls(EncoderConfig(**built), noise=noise, **told)

    @property
    def extinction_corrected(self) -> bool:
        """Whether it takes flux that is corrected for Galactic extinction."""
        return self.config.extinction_corrected

    @property
    def width(self) -> int:
        """Number of features of the last stage."""
        width: int = self.backbone.widths[-1]
        return width

    @property
    def learnt_dim(self) -> int:
        """Number of numbers that are learnt: the bottleneck's, or else all features."""
        return self.config.learnt_dim or self.width

    def blocks(self, stages: str = "auto") -> dict[str, int]:
        """Name and length of each block of an embedding, in order; see `ReadOutConfig.stages`.

        There are none where stages are read as they are.

        Raises:
            ConfigError: If the encoder has no such part.
        """
        stages = self.read_out_of(stages)
        if stages in ("all", "last"):
            return {}
        found: Counter[str] = Counter()
        if self.measurements is not None and stages != "learnt":
            found.update(number.block for number in self.measurements.described)
        if self.config.learnt_dim and stages != "measurements":
            found["learnt"] = self.config.learnt_dim
        return dict(found)

    def read_out_of(self, stages: str) -> str:
        """What ``stages`` stands for with this encoder: auto is settled.

        Raises:
            ConfigError: If the encoder has no such part.
        """
        has = {
            "measurements": self.measurements is not None,
            "learnt": self.config.learnt_dim > 0,
        }
        if stages == "auto":
            return "blocks" if any(has.values()) else "all"
        if (stages == "blocks" and not any(has.values())) or not has.get(stages, True):
            raise ConfigError(
                f"readout.stages is {stages}, this encoder has neither; expected all or last"
                if not any(has.values())
                else f"readout.stages is {stages}, which this encoder does not have"
            )
        return stages

    def maps(self, flux: Tensor) -> list[Tensor]:
        """Maps of all stages for flux (B, C, crop, crop).

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
        """Mean of the last stage's map, (B, width)."""
        return self.maps(flux)[-1].mean(dim=(2, 3))

    def embed(
        self,
        cutouts: Array | CutoutReader,
        *,
        ebv_mag: Array | None = None,
        psf_fwhm_arcsec: Array | None = None,
        noise: Array | None = None,
        config: ReadOutConfig = ReadOutConfig(),
        batch_size: int = 256,
        progress: bool = False,
    ) -> Floats:
        """Embeddings of cutouts, as the verb ``embed`` stores them.

        The central crop of each is embedded on the encoder's device, in mixed precision. The
        result is rounded to half precision, so that it equals `Embeddings.vectors` of the same
        cutouts, and given as float32.

        An encoder with ``extinction_corrected`` sees flux without the Milky Way's dust. Open
        cutouts are corrected with the E(B-V) of their file, an array with ``ebv_mag``; without it
        an array is taken as corrected already.

        >>> encoder = fresh_encoder(
        ...     EncoderConfig(crop_px=40), bands="grz", pixscale_arcsec=0.262, calibrated=True,
        ...     noise=[0.01] * 3, seed=0,
        ... )
        >>> encoder.embed(np.zeros((2, 3, 48, 48))).shape
        (2, 179)

        Args:
            cutouts: Flux in the encoder's unit, shape (N, C, H, W), or open cutouts; 8-bit values
                are divided by 255.
            ebv_mag: Galactic E(B-V) that dims the flux of an array, mag, shape (N,).
            psf_fwhm_arcsec: Width of the PSF of an array, NaN where unknown, shape (N, C).
            noise: Standard deviation per pixel of an array, NaN where unknown, shape (N, C).
            config: What is read from the network.
            batch_size: Cutouts per pass through the network.
            progress: Whether to show a progress bar.

        Returns:
            Shape (N, D), float32.

        Raises:
            MismatchError: If the cutouts are not what the encoder was made for.
            DataError: If a cutout has nan or inf pixels, or no usable E(B-V) is given for one; the
                message has the row numbers.
            ShapeError: If an array is not (N, C, H, W), or what is known of it not of its shape.
            ConfigError: If E(B-V), PSF or noise are given for open cutouts, which state their own.
        """
        return embed_array(
            self,
            cutouts,
            config,
            known={"ebv_mag": ebv_mag, "psf_fwhm_arcsec": psf_fwhm_arcsec, "noise": noise},
            batch_size=batch_size,
            progress=progress,
        )

    def to_onnx(self, path: PathLike, config: ReadOutConfig = ReadOutConfig()) -> Path:
        """Write the encoder as one ONNX model, for use without this package or torch.

        Inputs are ``flux`` (B, C, crop, crop), as observed, in the encoder's unit; ``ebv_mag``
        (B,), NaN where flux is corrected for extinction already; ``psf_fwhm_arcsec`` and ``noise``
        (B, C), NaN where unknown. The output is ``embedding`` (B, D), float32, not rounded to half
        precision. Extinction correction, measurements and the mean over orientations are inside;
        the model's metadata say what the inputs must be. Opset 18.

        Args:
            path: The file to write.
            config: What is read from the network.

        Returns:
            The path.

        Raises:
            ConfigError: If the extra ``onnx`` is not installed, the encoder has no such part, or
                the file cannot be written.
        """
        from ssl_photoz.encoders.onnx_export import write_onnx

        return write_onnx(self, Path(path), config)

    def require(
        self,
        *,
        bands: Sequence[str],
        pixscale_arcsec: float,
        calibrated: bool,
        size_px: int,
        extinction_corrected: bool = False,
    ) -> None:
        """Check that a source of cutouts is what the encoder was made for.

        Raises:
            MismatchError: If it is not, naming both sides.
        """
        theirs: dict[str, Any] = {"bands": list(bands), "calibrated": calibrated}
        theirs |= {"pixscale_arcsec": float(pixscale_arcsec)}
        theirs |= {"extinction_corrected": extinction_corrected}
        mine = {"extinction_corrected": self.extinction_corrected}
        mine |= {name: self.description[name] for name in theirs if name not in mine}
        for name in differences(mine, theirs):
            remedy = "use cutouts like the encoder's"
            if name == "extinction_corrected":
                remedy = AS_STORED if extinction_corrected else WITH_EBV
            raise MismatchError(
                f"the encoder was trained with {name} = {mine[name]}, these cutouts have "
                f"{name} = {theirs[name]}; {remedy}, or another encoder"
            )
        self._require_size(size_px)

    def require_pixels(self, shape: Sequence[int]) -> None:
        """Check that pixels of cutouts, of which only the shape (C, H, W) is known, can be taken.

        Raises:
            MismatchError: If there are other bands or too few pixels, naming both sides.
        """
        if shape[0] != self.input_shape[0]:
            raise MismatchError(
                f"the encoder was trained with bands = {self.description['bands']}, these cutouts "
                f"have {shape[0]} bands; use cutouts like the encoder's, or another encoder"
            )
        self._require_size(min(shape[1:]))

    def _require_size(self, size_px: int) -> None:
        if size_px < self.input_shape[-1]:
            raise MismatchError(
                f"the encoder sees crops of {self.input_shape[-1]} px, these cutouts are "
                f"{size_px} px; use larger cutouts, or an encoder with a smaller crop_px"
            )


def fresh_encoder(
    config: EncoderConfig,
    *,
    bands: Sequence[str],
    pixscale_arcsec: float,
    calibrated: bool,
    noise: Sequence[float] | Floats = (),
    seed: int,
    extinction_corrected: bool = False,
) -> Encoder:
    """Encoder with random weights that depend on the seed alone.

    Args:
        config: The architecture.
        bands: Names of the bands.
        pixscale_arcsec: Pixel scale of the input, arcsec per pixel.
        calibrated: Whether the input is flux or display values.
        noise: Typical noise per pixel of each band, (C,), which ``config.softening`` is a multiple
            of. Not used for display values, whose softening is `DISPLAY_SOFTENING`, nor by the
            stretch ``viewer_slip``.
        seed: Seed of the weights; the global random state is left as it was.
        extinction_corrected: Whether the input is corrected for Galactic extinction.

    Raises:
        ConfigError: If the source has no single pixel scale, or no such stretch.
    """
    if not pixscale_arcsec > 0:
        raise ConfigError(
            f"an encoder needs cutouts of one pixel scale, these have {pixscale_arcsec}; state "
            f"pixscale_arcsec in the file, or resample the cutouts"
        )
    softening = (config.softening * np.asarray(noise, np.float32)).tolist()
    if not calibrated:
        softening = [DISPLAY_SOFTENING] * len(bands)
    elif config.stretch == "viewer_slip":
        softening = softening_of(bands)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder(
            config,
            bands=bands,
            pixscale_arcsec=pixscale_arcsec,
            calibrated=calibrated,
            softening=softening,
            noise=np.asarray(noise).tolist(),
            extinction_corrected=extinction_corrected,
        )
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
