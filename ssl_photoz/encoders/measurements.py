"""Measurements of a galaxy's light: nothing in them is trained.

Everything is a sum of linear flux under Gaussian windows around the middle of the cutout, taken
before any stretch, so that colours are as exact as the pixels allow. Windows are round and widen in
equal ratios; the same window in every band makes a colour of the same part of a galaxy [1]. Sums
become asinh magnitudes [2], which are linear in flux around zero.

References:
    [1] Kuijken 2008, A&A 482, 1053 (Gaussian-aperture photometry).
    [2] Lupton, Gunn & Szalay 1999, AJ 118, 1406.
    [3] Bernstein & Jarvis 2002, AJ 123, 583 (weighted second moments).
    [4] Starck & Murtagh 2006, Astronomical Image and Data Analysis (band-passed images).
    [5] Tonry & Schneider 1988, AJ 96, 807 (surface-brightness fluctuations).
    [6] Conselice 2003, ApJS 147, 1 (asymmetry).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ssl_photoz.core.errors import ConfigError, ShapeError
from ssl_photoz.encoders.settings import MeasurementConfig

MAG_PER_LN = 2.5 / math.log(10)
MEAN_ABSOLUTE = math.sqrt(2 / math.pi)  # of a Gaussian deviate, per standard deviation
CLIP = 6.0  # standardised measurements are cut to this
REACH = 3.0  # textures are looked at out to so many sigma of their window
LEAST_WEIGHT = 1e-12
FAINTEST = 0.3  # textures fainter than this part of their noise count as so strong


class Measurement(NamedTuple):
    """What one number of `Measurements` is.

    Attributes:
        name: Such as ``mag_r_1.2``, in a window of sigma 1.2 arcsec.
        block: magnitudes, colours, concentrations, shapes, textures, asymmetry or conditions.
        unit: mag, ln (a natural logarithm) or empty (a ratio).
    """

    name: str
    block: str
    unit: str


class Measurements(nn.Module):
    """Magnitudes, colours, concentrations, shapes, textures and asymmetry of every cutout.

    - Per band and window: the asinh magnitude of the window's sum. Colours of neighbouring bands;
      concentrations, the differences of neighbouring windows.
    - Per band, in a few windows: log size and ellipticity of the weighted light [3], and mean
      surface brightness within that size.
    - Per band, in the middle window: textures, the log of the light's absolute band-passed part [4]
      over the light; fluctuations, the variance of that part over the light, as a magnitude [5];
      asymmetry under a turn by 180 degrees [6]. What noise adds to them is taken off.
    - Of the observation: log PSF width and log noise per band, where the cutouts are flux.

    The softening of a magnitude is the noise of its sum, from the typical noise per pixel and not
    the object's, so that equal galaxies measure equal. Where a sum divides, it counts as no fainter
    than that noise. Quarter turns and mirror images leave every number unchanged. On 8-bit pictures
    all of it is in display units.

    Args:
        config: What is measured.
        bands: Band names, in the order of the channels.
        size_px: Side of the cutouts.
        pixscale_arcsec: Pixel scale, arcsec per pixel.
        calibrated: Whether pixels are flux in nanomaggies or display values.
        noise: Typical standard deviation per pixel of each band, in the unit of the pixels.

    Attributes:
        described: What each number is, in their order.

    Raises:
        ConfigError: If a noise is not positive, or no two windows fit the cutout.
    """

    sums: Tensor
    light_noise: Tensor
    noise: Tensor
    window_noise: Tensor
    sigmas_px: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        config: MeasurementConfig,
        *,
        bands: Sequence[str],
        size_px: int,
        pixscale_arcsec: float,
        calibrated: bool,
        noise: Sequence[float],
    ) -> None:
        super().__init__()
        if len(noise) != len(bands) or not all(0 < sigma < math.inf for sigma in noise):
            raise ConfigError(f"noise is {list(noise)}, expected a positive number for each band")
        self.config, self.calibrated, self.bands = config, calibrated, tuple(bands)
        self.size_px = size_px
        sigmas_arcsec = config.sigmas_arcsec(size_px * pixscale_arcsec / 2)
        self.described = tuple(_described(self.bands, config, sigmas_arcsec, calibrated))
        sigmas_px = torch.tensor(sigmas_arcsec, dtype=torch.float64) / pixscale_arcsec
        x_px = torch.arange(size_px, dtype=torch.float64) - (size_px - 1) / 2
        squared = x_px.square()
        windows = torch.exp(-(squared[:, None] + squared) / (2 * sigmas_px.square()[:, None, None]))
        # Second moments x^2 + y^2, x^2 - y^2 and 2 x y in the windows of shapes.
        moments = [
            squared[:, None] + squared,
            squared - squared[:, None],
            2 * x_px[:, None] * x_px,
        ]
        chosen = windows[list(config.shape_windows)]
        sums = torch.cat([windows, *(chosen * moment for moment in moments)]).flatten(1)
        per_pixel = torch.tensor(list(noise), dtype=torch.float64)
        window = len(sigmas_px) // 2
        reach_px = min(REACH * float(sigmas_px[window]), (size_px - 1) / 2)
        self.scales = len(config.scales_px)
        for name, value in (
            *(("sums", sums), ("noise", per_pixel), ("sigmas_px", sigmas_px)),
            ("window_noise", per_pixel[:, None] * windows.square().sum(dim=(1, 2)).sqrt()),
            *_band_passes(x_px, (1.0, *config.scales_px), float(sigmas_px[window]), reach_px),
        ):
            # Numbers too small for single precision would make the products ten times slower.
            value = torch.where(value.abs() > LEAST_WEIGHT, value, 0.0)
            self.register_buffer(name, value.float().contiguous(), persistent=False)
        weights = self.get_buffer("middle_0").square().sum().sqrt()
        self.register_buffer("light_noise", self.noise * weights, persistent=False)
        self.register_buffer("mean", torch.zeros(len(self.described)))
        self.register_buffer("std", torch.ones(len(self.described)))

    def __len__(self) -> int:
        """Number of measurements."""
        return len(self.described)

    def forward(
        self,
        flux: Tensor,
        *,
        psf_fwhm_arcsec: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Measure a batch, and standardise.

        Args:
            flux: Linear flux per pixel, or display values, shape (B, C, size_px, size_px).
            psf_fwhm_arcsec: FWHM of each object's PSF, shape (B, C); NaN or None: unknown.
            noise: Standard deviation per pixel of each object, shape (B, C); NaN or None: unknown,
                and then the typical one is taken off.

        Returns:
            Measurements less ``mean`` over ``std``, at most 6 from 0, shape (B, len(self)),
            float32; 0 where they are unknown.

        Raises:
            ShapeError: If a shape is another.
        """
        measured = self.measure(flux, psf_fwhm_arcsec=psf_fwhm_arcsec, noise=noise)
        return self.standardised(measured)

    def standardised(self, measured: Tensor) -> Tensor:
        """Measurements (B, len(self)) as `forward` gives them."""
        return ((measured - self.mean) / self.std).nan_to_num(0.0).clamp(-CLIP, CLIP)

    def standardise_by(self, measured: Tensor) -> None:
        """Take the mean and standard deviation of measurements (N, len(self)) for `forward`.

        Numbers of which nothing is known, or that do not vary, are left as they are.
        """
        known = measured.isfinite()
        count = known.sum(dim=0).clamp_min(1)
        mean = measured.nan_to_num(0.0).sum(dim=0) / count
        spread = torch.where(known, measured - mean, 0.0).square().sum(dim=0) / count
        self.mean.copy_(mean)
        self.std.copy_(torch.where(spread > 1e-12, spread.sqrt(), 1.0))

    def measure(
        self,
        flux: Tensor,
        *,
        psf_fwhm_arcsec: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Measurements as they are, in the units of ``described``; see `forward`.

        Returns:
            Shape (B, len(self)), float32; NaN where a condition is unknown.
        """
        expected = (len(self.bands), self.size_px, self.size_px)
        if flux.ndim != 4 or tuple(flux.shape[1:]) != expected:
            raise ShapeError(f"flux has shape {tuple(flux.shape)}, expected (B, {expected})")
        with torch.autocast(flux.device.type, enabled=False):
            # Products of images whose channels come last would copy them every time.
            return self._measure(flux.float().contiguous(), psf_fwhm_arcsec, noise)

    def _measure(
        self, flux: Tensor, psf_fwhm_arcsec: Tensor | None, noise: Tensor | None
    ) -> Tensor:
        batch, bands = flux.shape[:2]
        pixels = flux.view(batch * bands, -1)
        # This way round the product takes less than half of the time.
        sums = (self.sums @ pixels.T).T.reshape(batch, bands, -1)
        light = sums[..., : len(self.sigmas_px)]
        mags = self._magnitudes(light, self.window_noise)
        own_noise = _given(noise, (batch, bands), "noise", flux)
        sigma = torch.where(own_noise > 0, own_noise, self.noise)
        parts = [mags, mags[:, :-1] - mags[:, 1:], mags[..., :-1] - mags[..., 1:]]
        parts.append(self._shapes(sums, mags))
        parts.append(self._textures(flux, sigma))
        if self.calibrated and self.config.conditions:
            psf = _given(psf_fwhm_arcsec, (batch, bands), "psf_fwhm_arcsec", flux)
            own = torch.stack([psf, own_noise], dim=-1)
            parts.append(torch.where(own > 0, own, math.nan).log())
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def _magnitudes(self, flux: Tensor, softening: Tensor) -> Tensor:
        zero = 22.5 if self.calibrated else 0.0
        return zero - MAG_PER_LN * (torch.asinh(flux / (2 * softening)) + softening.log())

    def _shapes(self, sums: Tensor, mags: Tensor) -> Tensor:
        """Log size in pixels, ellipticity and mean surface brightness, (B, C, shapes, 3)."""
        chosen = list(self.config.shape_windows)
        light = torch.maximum(sums[..., chosen], self.window_noise[:, chosen])
        moments = sums[..., len(self.sigmas_px) :].reshape(*light.shape[:2], 3, len(chosen))
        of_all, plus, cross = (moments / light[..., None, :]).unbind(-2)
        window_px2 = self.sigmas_px[chosen].square()
        # A round Gaussian has x^2 + y^2 = 2 sigma^2; light without a middle, all of the window's.
        size_px2 = (of_all / 2).clamp(0.02 * window_px2, 4 * window_px2)
        ellipticity = (plus.square() + cross.square()).sqrt() / (2 * size_px2)
        brightness = mags[..., chosen] + MAG_PER_LN * (2 * math.pi * size_px2).log()
        return torch.stack([size_px2.log() / 2, ellipticity.clamp_max(2), brightness], dim=-1)

    def _textures(self, flux: Tensor, sigma: Tensor) -> Tensor:
        """Textures and fluctuations at every scale, and asymmetry, (B, C, 2 scales + 1)."""
        smooth = self._blurred(flux, 0)[0]
        light = torch.maximum(self._mean(smooth, 0), self.light_noise)
        found = []
        for scale in range(1, self.scales + 1):
            fine, coarse = self._blurred(flux, scale)
            band_pass, noise = fine - coarse, sigma * self.get_buffer(f"gain_{scale}")
            expected = (MEAN_ABSOLUTE * noise).square()
            absolute = self._mean(band_pass.abs(), scale).square() - expected
            absolute = torch.maximum(absolute, FAINTEST**2 * expected)
            variance = self._mean(band_pass.square(), scale) - noise.square()
            found.append(absolute.log() / 2 - light.log())
            found.append(self._magnitudes(variance / light, FAINTEST * self.noise))
        odd = self._mean((smooth - smooth.flip(2, 3)).abs(), 0)
        odd = odd - MEAN_ABSOLUTE * math.sqrt(2) * sigma * self.get_buffer("gain_0")
        found.append((odd / light).clamp(-1, 4))
        return torch.stack(found, dim=-1)

    def _blurred(self, flux: Tensor, scale: int) -> list[Tensor]:
        """Images smoothed for a scale, each (B, C, n, n)."""
        blurs = self.get_buffer(f"blurs_{scale}")
        along = flux @ blurs.flatten(0, 1).T
        return [
            blur @ part
            for blur, part in zip(blurs, torch.split(along, blurs.shape[1], dim=-1), strict=True)
        ]

    def _mean(self, image: Tensor, scale: int) -> Tensor:
        """Mean in the middle window, (B, C, n, n) to (B, C)."""
        return image.flatten(2) @ self.get_buffer(f"middle_{scale}")


def _band_passes(
    x_px: Tensor, scales_px: Sequence[float], window_px: float, reach_px: float
) -> Iterator[tuple[str, Tensor]]:
    """Buffers of the textures: number 0 smooths by a pixel, the others pass a band each.

    A band-passed image is sampled once per scale. ``blurs``, (1 or 2, n, size_px), smooth a line of
    pixels; ``middle``, (n * n), is the window of the samples; ``gain``, noise after over noise
    before.
    """
    for number, scale_px in enumerate(scales_px):
        places = torch.arange(int(reach_px / scale_px) * 2 + len(x_px) % 2, dtype=x_px.dtype)
        places = (places - (len(places) - 1) / 2) * scale_px
        widths = [scale_px] if number == 0 else [scale_px, 2 * scale_px]
        blurs = torch.stack([_gaussian(places, x_px, width) for width in widths])
        weights = _gaussian(x_px[:1] * 0, places, window_px)[0]
        core = blurs[:, len(places) // 2]
        overlap = (core @ core.T).square()
        passed = overlap[0, 0] if number == 0 else overlap[0, 0] + overlap[1, 1] - 2 * overlap[0, 1]
        yield f"blurs_{number}", blurs
        yield f"middle_{number}", (weights[:, None] * weights).flatten()
        yield f"gain_{number}", passed.sqrt()


def _gaussian(centres: Tensor, x: Tensor, sigma: float) -> Tensor:
    """Gaussian weights that sum to 1 over x, for each centre, (len(centres), len(x))."""
    weights = torch.exp(-0.5 * ((centres[:, None] - x) / sigma).square())
    return weights / weights.sum(dim=1, keepdim=True)


def _given(values: Tensor | None, shape: tuple[int, int], name: str, like: Tensor) -> Tensor:
    if values is None:
        return like.new_full(shape, math.nan)
    if tuple(values.shape) != shape:
        raise ShapeError(f"{name} has shape {tuple(values.shape)}, expected {shape}")
    return values.to(like)


def _described(
    bands: Sequence[str],
    config: MeasurementConfig,
    sigmas_arcsec: Sequence[float],
    calibrated: bool,
) -> list[Measurement]:
    """What each number is, in the order in which they are measured."""
    widths = [f"{sigma:.2g}" for sigma in sigmas_arcsec]
    shapes = [widths[n] for n in config.shape_windows]
    scales = [f"{scale:g}px" for scale in config.scales_px]
    pairs = [f"{one}-{two}" for one, two in pairwise(bands)]
    found = [Measurement(f"mag_{b}_{w}", "magnitudes", "mag") for b in bands for w in widths]
    found += [Measurement(f"{pair}_{w}", "colours", "mag") for pair in pairs for w in widths]
    found += [
        Measurement(f"conc_{b}_{w}", "concentrations", "mag") for b in bands for w in widths[:-1]
    ]
    found += [
        Measurement(f"{kind}_{b}_{w}", "shapes", unit)
        for b in bands
        for w in shapes
        for kind, unit in (("size", "ln"), ("ellipticity", ""), ("mu", "mag"))
    ]
    for band in bands:
        found += [
            Measurement(f"{kind}_{band}_{scale}", "textures", unit)
            for scale in scales
            for kind, unit in (("texture", "ln"), ("fluctuation", "mag"))
        ]
        found.append(Measurement(f"asymmetry_{band}", "asymmetry", ""))
    if calibrated and config.conditions:
        found += [
            Measurement(f"{kind}_{b}", "conditions", "ln")
            for b in bands
            for kind in ("psf", "noise")
        ]
    return found
