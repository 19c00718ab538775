"""The chain that makes one view of each galaxy in a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_photoz.augment import survey
from ssl_photoz.augment.display import jitter_display
from ssl_photoz.augment.draws import uniform
from ssl_photoz.augment.noise import add_noise, draw_noise, noise_after_widening, noise_deficit
from ssl_photoz.augment.orient import (
    BILINEAR_VARIANCE_PX2,
    draw_orientation,
    orient,
)
from ssl_photoz.augment.psf import draw_extra_sigma, widen_
from ssl_photoz.augment.redden import draw_ebv_change, transmission
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.augment.shapes import as_flux, require_shape
from ssl_photoz.core.extinction import r_band_of


class Views:
    """Makes views: orient, then widen the PSF, redden, and add noise.

    The order is that of the light's path as far as it matters. Orientation comes first: it
    commutes with a round PSF and a uniform dust screen, and crops, so the rest has less to
    do. Widening and dust are linear and commute. Noise comes last, because a detector adds
    it after optics and dust; what the steps before did to the noise already in the cutout
    is reckoned up and made good, so that a view's noise per pixel is never below the cutout's.

    An uncalibrated source (8-bit display values) is oriented, then gets mild gain, blur and
    noise in display units; E(B-V), PSF and noise are not looked at.

    Args:
        bands: Band names, length C.
        pixscale_arcsec: Pixel scale, arcsec per pixel.
        calibrated: Whether pixels are linear flux in nanomaggies.
        crop_px: Side of a view, pixels.
        config: The augmentations.
        conditions: The survey that PSF, noise and dust are drawn from, with the noise of flux that
            is corrected for extinction if the cutouts are; by default DR9's.
        extinction_corrected: Whether flux, and its noise, are corrected for the cutouts' E(B-V),
            so that the only dust left in them is the error of the map.

    Raises:
        ConfigError: If a calibrated source has a band without survey figures.
    """

    def __init__(
        self,
        bands: tuple[str, ...] = ("g", "r", "z"),
        pixscale_arcsec: float = survey.PIXSCALE_ARCSEC,
        calibrated: bool = True,
        crop_px: int = 64,
        config: AugmentationConfig = AugmentationConfig(),
        *,
        conditions: survey.SurveyConditions | None = None,
        extinction_corrected: bool = False,
    ) -> None:
        self.bands, self.pixscale_arcsec, self.crop_px = bands, pixscale_arcsec, crop_px
        self.calibrated, self.config = calibrated, config
        self.extinction_corrected = extinction_corrected
        if calibrated:
            about: dict[str, Any] = {"pixscale_arcsec": pixscale_arcsec}
            about["extinction_corrected"] = extinction_corrected
            conditions = conditions or survey.dr9(bands, **about)
            self._psf_px, self._noise_nmgy, self._ebv_mag = conditions
            drawn: survey.Drawn = conditions[:2]
            if config.target_conditions == "uniform":
                drawn = survey.ranges(bands, **about)
            self._psf_drawn_px, self._noise_drawn_nmgy = drawn
            self._r_band = r_band_of(bands)

    @torch.no_grad()
    def __call__(
        self,
        flux: Tensor,
        *,
        ebv_mag: Tensor | None = None,
        psf_fwhm_arcsec: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator,
    ) -> Tensor:
        """Make one view of each cutout.

        NaN or a negative value, or None for a whole batch, means unknown: the survey's
        median stands in.

        Args:
            flux: Nanomaggies per pixel, or display values 0 to 1, shape (B, C, H, H).
            ebv_mag: The cutouts' E(B-V), mag, shape (B,).
            psf_fwhm_arcsec: The cutouts' PSF, shape (B, C).
            noise: The cutouts' noise per pixel, nmgy, shape (B, C).
            generator: Source of randomness, see `draws.generator`; fastest on flux's device.

        Returns:
            Shape (B, C, crop_px, crop_px), float32, the unit of flux.

        Raises:
            ShapeError: If a shape is not the documented one, or the cutouts are smaller
                than the crop.
        """
        flux, config = as_flux(flux), self.config
        batch, bands = len(flux), len(self.bands)
        require_shape("flux", flux, (batch, bands, *flux.shape[2:]))
        placed = draw_orientation(
            batch, max_shift_px=config.jitter_px, generator=generator, rotation=config.rotation
        )
        angle_rad, flip, shift_px = (part.to(flux.device) for part in placed)
        view = orient(
            flux,
            crop_px=self.crop_px,
            angle_rad=angle_rad,
            flip=flip,
            shift_px=shift_px,
            magnification=self._draw_magnification(batch, generator, flux.device),
        )
        if not self.calibrated:
            return jitter_display(
                view,
                gain=config.display_gain,
                colour=config.display_colour,
                blur_sigma_px=config.display_blur_px,
                noise=config.display_noise,
                generator=generator,
            )
        if config.input_conditions == "drawn":
            ebv_mag, psf_fwhm_arcsec, noise = self._draw_own(batch, generator)
        ebv_mag = _known(ebv_mag, torch.tensor(self._ebv_mag.median), (batch,), "ebv_mag", view)
        own_px = self._own_psf_px(psf_fwhm_arcsec, view)
        own = _known(
            noise,
            survey.medians(self._noise_nmgy, device=view.device),
            (batch, bands),
            "noise",
            view,
        )
        return self._observe(view, ebv_mag, own_px, own, generator)

    def _observe(
        self,
        view: Tensor,
        ebv_mag: Tensor,
        own_px: Tensor,
        own: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Widen, redden and add noise, for known E(B-V), PSF sigma and noise; may change view."""
        config, extra_px = self.config, self._draw_extra_sigma(own_px, generator)
        change = draw_ebv_change(
            ebv_mag,
            config,
            generator=generator,
            elsewhere=self._ebv_mag,
            corrected=self.extinction_corrected,
        )
        target = draw_noise(
            own, bands=self._noise_drawn_nmgy, generator=generator, strength=config.noise_strength
        )
        if config.psf_strength > 0 or config.psf_max_px > 0:
            view = widen_(view, extra_sigma_px=extra_px)
        r_band = torch.tensor(self._r_band, device=view.device)
        passed = transmission(change, r_band=r_band, like=view)
        left = noise_after_widening(own, extra_px, resampled=config.rotation == "free")
        missing = noise_deficit(target, left * passed[..., 0, 0])
        return add_noise(view.mul_(passed), sigma=missing, generator=generator)

    def _draw_magnification(
        self, batch: int, generator: torch.Generator, device: torch.device
    ) -> Tensor | None:
        zoom = self.config.zoom
        if zoom == 0:
            return None
        return uniform(1 - zoom, 1 + zoom, (batch,), generator=generator).to(device)

    def _draw_extra_sigma(self, own_px: Tensor, generator: torch.Generator) -> Tensor:
        if self.config.psf_max_px > 0:
            shape = tuple(own_px.shape)
            return uniform(0.0, self.config.psf_max_px, shape, generator=generator).to(own_px)
        return draw_extra_sigma(
            own_px, bands=self._psf_drawn_px, generator=generator, strength=self.config.psf_strength
        )

    def _draw_own(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        ebv_mag = survey.draw((self._ebv_mag,), batch, generator=generator)[:, 0]
        psf_px = survey.draw(self._psf_px, batch, generator=generator)
        noise = survey.draw(self._noise_nmgy, batch, generator=generator)
        return ebv_mag, psf_px * (survey.FWHM_PER_SIGMA * self.pixscale_arcsec), noise

    def _own_psf_px(self, psf_fwhm_arcsec: Tensor | None, view: Tensor) -> Tensor:
        """Gaussian sigma of the PSF after resampling, px, shape (B, C)."""
        to_fwhm = survey.FWHM_PER_SIGMA * self.pixscale_arcsec
        fallback = survey.medians(self._psf_px, device=view.device) * to_fwhm
        fwhm = _known(psf_fwhm_arcsec, fallback, tuple(view.shape[:2]), "psf_fwhm_arcsec", view)
        resampling = BILINEAR_VARIANCE_PX2 if self.config.rotation == "free" else 0.0
        return ((fwhm / to_fwhm).square() + resampling).sqrt()


def _known(
    values: Tensor | None, fallback: Tensor, shape: tuple[int, ...], name: str, like: Tensor
) -> Tensor:
    """Put the fallback where a value is missing, not finite or negative."""
    fallback = fallback.to(like).expand(shape)
    if values is None:
        return fallback
    require_shape(name, values, shape)
    values = values.to(like)
    return torch.where(values.isfinite() & (values >= 0), values, fallback)
