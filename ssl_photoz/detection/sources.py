"""Sources of one window of an image: background, detection, deblending, apertures, by `sep`.

`sep` (Barbary 2016, JOSS 1, 58) is SExtractor (Bertin & Arnouts 1996, A&AS 117, 393) as a library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.statistics import FWHM_PER_SIGMA
from ssl_photoz.core.types import Bools, Doubles, Floats
from ssl_photoz.detection.settings import DetectionConfig

KRON_FACTOR, LEAST_KRON, KRON_REACH = 2.5, 3.5, 6.0
SIGMA_PER_HALF_LIGHT = 2 / FWHM_PER_SIGMA
KERNEL_REACH = 3.0  # in its sigma
LEAST_PIXELS = 300_000  # above the threshold, that sep keeps at a time
LEAST_NOISE = 0.3  # times that of most of the window
MOST_PARTS = 8192  # of one blend


class Sources(NamedTuple):
    """Sources of an image, all (N,) but for fluxes; places in pixels from 0.

    Attributes:
        x: Centre.
        y: Centre.
        flux: Flux in the Kron ellipse, (N, C).
        flux_err: Its error, (N, C).
        a_px: Semi-major axis of the Kron ellipse.
        b_px: Semi-minor axis.
        theta_rad: Angle of the major axis, from the x axis towards the y axis.
        half_light_px: Radius of half of that flux, as it is seen.
        ellipticity: 1 - b/a of the light, as it is seen.
        edge: Whether the ellipse reaches past the edge of the image.
        saturated: Whether a pixel of the source is saturated.
        masked: Whether a pixel in the ellipse is masked, or not observed in some band.
        blended: Whether it was parted from another source.
        cut: Whether the ellipse reaches past the window, inside the image.
    """

    x: Doubles
    y: Doubles
    flux: Doubles
    flux_err: Doubles
    a_px: Doubles
    b_px: Doubles
    theta_rad: Doubles
    half_light_px: Doubles
    ellipticity: Doubles
    edge: Bools
    saturated: Bools
    masked: Bools
    blended: Bools
    cut: Bools

    def take(self, rows: Any) -> Sources:  # noqa: ANN401 - indices or a mask
        """Some of the sources."""
        return Sources(*(column[rows] for column in self))

    def moved(self, x: float, y: float) -> Sources:
        """The same sources, seen from another origin."""
        return self._replace(x=self.x + x, y=self.y + y)


def joined(parts: Sequence[Sources]) -> Sources:
    """Sources of several windows, one after the other."""
    return Sources(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def no_sources(bands: int) -> Sources:
    """Not one source."""
    none, flux, no = np.zeros(0), np.zeros((0, bands)), np.zeros(0, bool)
    return Sources(none, none, flux, flux, none, none, none, none, none, no, no, no, no, no)


class Sky(NamedTuple):
    """Pixels of a window without their background.

    Attributes:
        flux: Flux without background, 0 where nothing was observed, (C, h, w).
        noise: Standard deviation of a pixel, (C, h, w); that of the smoothed image, so that
            noise which is correlated between neighbours is not taken for sources.
        observed: Where there is flux and noise, (C, h, w).
    """

    flux: Floats
    noise: Floats
    observed: Bools


class Borders(NamedTuple):
    """Which borders of a window are those of the image."""

    left: bool = True
    right: bool = True
    low: bool = True
    high: bool = True


def find_sources(
    pixels: Floats,
    saturated: Bools,
    masked: Bools,
    config: DetectionConfig,
    *,
    looked_in: Sequence[int],
    pixscale_arcsec: float,
    borders: Borders = Borders(),
) -> Sources | None:
    """Find and measure the sources of a window.

    Each band is freed of its background and divided by its noise; their sum is smoothed, and
    pixels above the threshold are parted into sources. Fluxes are sums of each band in the
    ellipse of Kron (1980, ApJS 43, 305) of the sum of bands.

    Args:
        pixels: Flux, (C, h, w); NaN or exactly 0 where nothing was observed.
        saturated: Which pixels are saturated, (h, w).
        masked: Which pixels are bad, (h, w); they are flagged, not left out.
        config: What a source is.
        looked_in: Indices of the bands that sources are looked for in.
        pixscale_arcsec: Pixel scale.
        borders: Which borders are the image's.

    Returns:
        The sources; None if nothing was observed, or without noise.

    Raises:
        DataError: If most of it is one source.
    """
    import sep

    sigma_px = config.smoothing_arcsec / pixscale_arcsec / FWHM_PER_SIGMA
    sky = measure_sky(pixels, config.mesh_px, sigma_px)
    signal = _summed(sky, looked_in)
    if signal is None:
        return None
    smooth = smoothed(signal, sigma_px) / np.float32(kernel_norm(sigma_px))
    nowhere: Bools = ~np.any(sky.observed, axis=0)
    found, footprints = _extracted(smooth, nowhere, config)
    if not len(found):
        return no_sources(len(pixels))
    # Smoothing makes everything round: moments are those of the pixels as they are.
    shapes, _ = sep.extract(signal, 0.0, filter_kernel=None, segmentation_map=footprints)
    moments = ["x", "y", "a", "b", "theta"]
    sound = np.all([np.isfinite(shapes[name]) for name in moments], axis=0) & (shapes["b"] > 0)
    for name in moments:
        found[name] = np.where(sound, shapes[name], found[name])
    return _measured(sky, signal, found, footprints, saturated, masked, borders)


def _extracted(smooth: Floats, mask: Bools, config: DetectionConfig) -> tuple[Any, Any]:
    import sep

    sep.set_extract_pixstack(max(LEAST_PIXELS, smooth.size // 4))
    sep.set_sub_object_limit(MOST_PARTS)
    try:
        found, footprints = sep.extract(
            smooth,
            config.threshold_sigma,
            mask=mask,
            minarea=config.min_pixels,
            filter_kernel=None,
            deblend_nthresh=config.deblend_levels,
            deblend_cont=config.deblend_contrast,
            segmentation_map=True,
        )
    except Exception as error:  # sep has no type for a full buffer
        raise DataError(
            f"too much of the image is above {config.threshold_sigma:g} sigma ({error}); raise "
            f"threshold_sigma, or lower mesh_px where the background is uneven"
        ) from None
    return found, footprints


def measure_sky(pixels: Floats, mesh_px: int, sigma_px: float) -> Sky:
    """Background and noise of each band.

    Args:
        pixels: Flux, (C, h, w); NaN or 0 where nothing was observed.
        mesh_px: Side of the squares in which they are measured.
        sigma_px: Gaussian that the noise is measured behind.
    """
    import sep

    observed = np.isfinite(pixels) & (pixels != 0)
    flux = np.where(observed, pixels, np.float32(0))
    noise = np.zeros_like(flux)
    for band in range(len(pixels)):
        mask = ~observed[band]
        if mask.all():
            continue
        size = {"bw": mesh_px, "bh": mesh_px, "mask": mask}
        flux[band] -= sep.Background(flux[band], **size).back()
        flux[band][mask] = 0
        rms = sep.Background(smoothed(flux[band], sigma_px), **size).rms()
        # The spline between meshes swings below zero beside one that is full of light.
        rms = np.maximum(rms, LEAST_NOISE * np.median(rms[::16, ::16]))
        noise[band] = rms / kernel_norm(sigma_px)
    observed &= noise > 0
    return Sky(flux, noise, observed)


def smoothed(pixels: Floats, sigma_px: float) -> Floats:
    """Pixels behind a Gaussian; nothing lies outside, whose mirror image would be noise twice."""
    from scipy.ndimage import gaussian_filter

    made: Floats = gaussian_filter(pixels, sigma_px, truncate=KERNEL_REACH, mode="constant")
    return made


def kernel_norm(sigma_px: float) -> float:
    """Noise of a smoothed image over that of the image, where pixels are independent."""
    from scipy.ndimage import gaussian_filter1d

    side = 2 * int(KERNEL_REACH * sigma_px + 1) + 1
    impulse = np.zeros(side)
    impulse[side // 2] = 1
    return float((gaussian_filter1d(impulse, sigma_px, truncate=KERNEL_REACH) ** 2).sum())


def _summed(sky: Sky, looked_in: Sequence[int]) -> Floats | None:
    """Sum of bands, each in its noise, in its own noise, (h, w)."""
    bands = list(looked_in)
    observed = sky.observed[bands]
    if not observed.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(observed, sky.flux[bands] / sky.noise[bands], np.float32(0))
    count = np.maximum(observed.sum(axis=0), 1).astype(np.float32)
    return np.ascontiguousarray(each.sum(axis=0) / np.sqrt(count), np.float32)


def _measured(
    sky: Sky,
    signal: Floats,
    found: Any,  # noqa: ANN401 - a structured array
    footprints: Any,  # noqa: ANN401 - int32
    saturated: Bools,
    masked: Bools,
    borders: Borders,
) -> Sources:
    import sep

    parts = {"seg_id": np.arange(1, len(found) + 1, dtype=np.int32), "segmap": footprints}
    parts["mask"] = ~sky.observed.any(axis=0)
    a = np.maximum(found["a"], 0.5)
    b = np.clip(found["b"], 0.5, a)
    theta = np.clip(found["theta"], -np.pi / 2, np.pi / 2)
    shape = (found["x"], found["y"], a, b, theta)
    kron, _ = sep.kron_radius(signal, *shape, KRON_REACH, **parts)
    kron = np.clip(np.nan_to_num(KRON_FACTOR * kron), LEAST_KRON, KRON_FACTOR * KRON_REACH)
    total, _, _ = sep.sum_ellipse(signal, *shape, kron, **parts)
    half, _ = sep.flux_radius(
        signal, found["x"], found["y"], kron * a, 0.5, normflux=total, subpix=5, **parts
    )
    x, y = _centres(signal, found, half, parts)
    alone = 1 - _share_of_others(footprints, found, shape, kron)
    flux, flux_err = np.zeros((2, len(found), len(sky.flux)))
    for band in range(len(sky.flux)):
        own = {**parts, "mask": ~sky.observed[band], "err": sky.noise[band]}
        flux[:, band], flux_err[:, band], _ = sep.sum_ellipse(sky.flux[band], *shape, kron, **own)
    # sep fills what others cover with the mean of the ellipse, which its bright middle raises.
    flux, flux_err = flux * alone[:, None], flux_err * np.sqrt(alone)[:, None]
    bad = masked | ~sky.observed.all(axis=0)
    touched, _, _ = sep.sum_ellipse(bad.astype(np.float32), *shape, kron, subpix=1)
    edge, cut = _past(found, kron * a, kron * b, theta, signal.shape, borders)
    labels = np.bincount(footprints[saturated], minlength=len(found) + 1)[1:]
    return Sources(
        x=x,
        y=y,
        flux=flux,
        flux_err=flux_err,
        a_px=kron * a,
        b_px=kron * b,
        theta_rad=theta,
        half_light_px=half,
        ellipticity=1 - b / a,
        edge=edge,
        saturated=labels > 0,
        masked=touched > 0,
        blended=(found["flag"] & sep.OBJ_MERGED) != 0,
        cut=cut,
    )


def _share_of_others(footprints: Any, found: Any, shape: Any, kron: Doubles) -> Doubles:  # noqa: ANN401
    """Share of each ellipse that other sources cover."""
    import sep

    covered, _, _ = sep.sum_ellipse((footprints > 0).astype(np.float32), *shape, kron, subpix=1)
    area = np.pi * shape[2] * shape[3] * kron**2
    return np.asarray(np.clip((covered - found["npix"]) / area, 0, 0.9))


def _centres(
    signal: Floats,
    found: Any,  # noqa: ANN401 - a structured array
    half_light_px: Doubles,
    parts: dict[str, Any],
) -> tuple[Doubles, Doubles]:
    """Centres weighted by a Gaussian as wide as the source; the moments where they run away."""
    import sep

    sigma = np.clip(np.nan_to_num(half_light_px), 1.0, None) * SIGMA_PER_HALF_LIGHT
    x, y, _ = sep.winpos(signal, found["x"], found["y"], sigma, mask=parts["mask"])
    inside = parts["segmap"][
        np.clip(np.rint(y), 0, signal.shape[0] - 1).astype(int),
        np.clip(np.rint(x), 0, signal.shape[1] - 1).astype(int),
    ]
    stays = np.isfinite(x) & np.isfinite(y) & (inside == parts["seg_id"])
    return np.where(stays, x, found["x"]), np.where(stays, y, found["y"])


def _past(
    found: Any,  # noqa: ANN401
    a: Doubles,
    b: Doubles,
    theta: Doubles,
    shape: tuple[int, ...],
    borders: Borders,
) -> tuple[Bools, Bools]:
    """Whether ellipses reach past a border of the image, and past another border of the window."""
    across = np.hypot(a * np.cos(theta), b * np.sin(theta))
    along = np.hypot(a * np.sin(theta), b * np.cos(theta))
    past = np.array(
        [
            (found["x"] - across < -0.5) | (found["xmin"] == 0),
            (found["x"] + across > shape[1] - 0.5) | (found["xmax"] == shape[1] - 1),
            (found["y"] - along < -0.5) | (found["ymin"] == 0),
            (found["y"] + along > shape[0] - 0.5) | (found["ymax"] == shape[0] - 1),
        ]
    )
    image = np.array(borders)[:, None]
    return (past & image).any(axis=0), (past & ~image).any(axis=0)
