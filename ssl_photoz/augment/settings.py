"""Augmentations and their strengths; no torch here, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rotation = Literal["free", "quarter", "none"]
Dust = Literal["own", "survey", "uniform", "none"]


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Differences between two views of one galaxy, which an encoder learns to ignore.

    Size scaling and free changes of colour are off by default, because both carry the redshift.
    They are there to measure what published, stronger recipes cost.

    Attributes:
        rotation: ``free``, ``quarter`` (turns of 90 degrees and whole-pixel shifts, which
            leave the noise untouched) or ``none``.
        jitter_px: Largest shift of the crop along each axis, pixels.
        zoom: Half-range of the size scaling; 0.1 draws factors from 0.9 to 1.1.
        input_conditions: Source of the E(B-V), PSF and noise that a cutout has already: ``file``,
            or ``drawn`` from the survey without looking, as ssl-legacysurvey does.
        target_conditions: Distribution of the PSF and noise that a view gets: ``survey``, or
            ``uniform`` over the survey's range, which favours its tails.
        psf_strength: Fraction of the extra PSF variance drawn from the survey, 0 to 1.
        psf_max_px: Largest extra sigma, pixels, drawn uniformly in each band; 0: the survey's PSF.
        noise_strength: Fraction of the extra noise variance drawn from the survey, 0 to 1;
            noise that smoothing takes away is put back in any case.
        dust: ``own`` (the dust map's error), ``survey`` (E(B-V) drawn anew), ``uniform``
            (E(B-V) uniform from 0 to ``dust_max_mag``) or ``none``.
        dust_error: Relative error of the dust map, 1 sigma.
        dust_max_mag: Largest E(B-V) of ``uniform`` dust, mag.
        display_gain: Half-range of the gain common to all bands, for 8-bit sources.
        display_colour: Half-range of the gain of each band, for 8-bit sources.
        display_blur_px: Largest Gaussian sigma, pixels, for 8-bit sources.
        display_noise: Largest noise sigma, display units (0 to 1), for 8-bit sources.
    """

    rotation: Rotation = "free"
    jitter_px: float = 4.0
    zoom: float = 0.0
    input_conditions: Literal["file", "drawn"] = "file"
    target_conditions: Literal["survey", "uniform"] = "survey"
    psf_strength: float = 1.0
    psf_max_px: float = 0.0
    noise_strength: float = 1.0
    dust: Dust = "own"
    dust_error: float = 0.13
    dust_max_mag: float = 1.0
    display_gain: float = 0.02
    display_colour: float = 0.0
    display_blur_px: float = 0.5
    display_noise: float = 0.01

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        self._within("jitter_px", 0.0, 1000.0)
        for name in ("display_blur_px", "psf_max_px", "dust_max_mag"):
            self._within(name, 0.0, 10.0)
        self._within("zoom", 0.0, 0.5)
        for name in ("psf_strength", "noise_strength", "dust_error"):
            self._within(name, 0.0, 1.0)
        for name in ("display_gain", "display_colour", "display_noise"):
            self._within(name, 0.0, 0.5)
        self._one_of("rotation", "free", "quarter", "none")
        self._one_of("input_conditions", "file", "drawn")
        self._one_of("target_conditions", "survey", "uniform")
        self._one_of("dust", "own", "survey", "uniform", "none")

    def _within(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, expected {low:g} to {high:g}")

    def _one_of(self, name: str, *choices: str) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
