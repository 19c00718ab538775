"""Cutouts of two surveys: their photometry, and batches in which each has its part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch

from ssl_photoz.augment.settings import AugmentationConfig, Dust
from ssl_photoz.augment.survey import SurveyConditions, fit_conditions
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.inputs import differences
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.cutouts.apertures import ApertureFluxes
from ssl_photoz.cutouts.batches import Batch, good_rows, prefetched, read_batch
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, sky_split
from ssl_photoz.cutouts.stream import deal, label_column
from ssl_photoz.training.transfer.selection import (
    effective_number,
    importance_weights,
    match_magnitudes,
)

RADIUS_ARCSEC = 2.5
AT_ONCE = 512
FEWEST = 10
WEIGHTED, PARTNERS = 1, 2


def require_alike(source: Cutouts, target: Cutouts) -> None:
    """Refuse a target whose cutouts are of other bands, pixel scale or kind.

    Raises:
        MismatchError: Naming both sides.
    """
    here, there = source.source, target.source
    one, other = ({**some.kind, "size_px": some.size_px} for some in (here, there))
    for name in differences(one, other):
        raise MismatchError(
            f"{here.path} has {name} {one[name]!r}, the target {there.path} {other[name]!r}; give "
            f"cutouts of one kind, or cut both to one size with convert size_px="
        )


def target_rows(target: Cutouts, split: SplitConfig) -> tuple[Ints, Ints]:
    """Good rows on the training sky, labelled or not, and the labelled ones to score on.

    Of the latter there may be none: fewer than 10 are no score.

    Raises:
        DataError: If there are fewer than 10 of the former.
    """
    good, _ = good_rows(target)
    side = sky_split(target, split).names[good]
    offered = good[side == "train"]
    test = good[(side == "test") & usable_labels(target.column("z")[good])]
    if len(offered) < FEWEST:
        raise DataError(
            f"{target.source.path} has {len(offered)} good cutouts on the training sky, expected "
            f"at least {FEWEST}"
        )
    return offered, test if len(test) >= FEWEST else test[:0]


def matched_views(
    source: Cutouts,
    labelled: Ints,
    target: Cutouts,
    offered: Ints,
    config: AugmentationConfig,
) -> tuple[AugmentationConfig, SurveyConditions]:
    """Augmentations and conditions that make rows of the source look like rows of the target.

    PSF, noise and dust are drawn, at full strength, from log-normals fitted to the target's
    columns; in flux that is corrected for extinction, dust is the error of the map. What is done to
    a cutout depends on its own: the source must have the columns as well.

    Raises:
        DataError: If either lacks one of the columns, or holds display values.
    """
    if not target.source.calibrated:
        raise DataError(f"{target.source.path} holds display values: it has no conditions to match")
    _conditions(source, labelled)
    dust: Dust = "own" if source.source.extinction_corrected else "survey"
    matched = replace(config, psf_strength=1.0, noise_strength=1.0, dust=dust)
    return matched, _conditions(target, offered)


def _conditions(cutouts: Cutouts, rows: Ints) -> SurveyConditions:
    per_band = (len(cutouts), len(cutouts.source.bands))
    try:
        return fit_conditions(
            cutouts.column_or_nan("psfsize", per_band)[rows],
            cutouts.column_or_nan("noise", per_band)[rows],
            cutouts.column_or_nan("ebv", per_band[:1])[rows],
            pixscale_arcsec=cutouts.source.pixscale_arcsec,
        )
    except DataError as error:
        raise DataError(f"{cutouts.source.path}: {error}") from None


def photometry(cutouts: Cutouts, rows: Ints) -> Floats:
    """Measure r and the colours of neighbouring bands within 2.5 arcsec.

    Asinh magnitudes of `ApertureFluxes`; of a file without r, its middle band stands in.

    Args:
        cutouts: The file.
        rows: Row numbers, shape (N,).

    Returns:
        Shape (N, C): the magnitude, then C - 1 colours.
    """
    source = cutouts.source
    measure = ApertureFluxes(
        source.bands,
        size_px=source.size_px,
        pixscale_arcsec=source.pixscale_arcsec,
        calibrated=source.calibrated,
        radii_arcsec=(RADIUS_ARCSEC,),
    )
    bands = len(source.bands)
    red = source.bands.index("r") if "r" in source.bands else bands // 2
    parts = np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))
    found = np.concatenate([measure(read_batch(cutouts, part).flux).numpy() for part in parts])
    return np.asarray(found[:, [red, *range(bands, 2 * bands - 1)]], dtype=np.float32)


class TwoFields:
    """Batches of labelled source galaxies, with partners of the target behind them.

    Which galaxies make up batch i depends on (seed, i) alone. A partner's ``z`` is NaN, whatever
    the target's file says: its labels are never read here.

    Args:
        source: Labelled cutouts.
        labelled: Rows of it to learn from, all on the training sky, shape (N,).
        split: The sky split.
        seed: Seed of the order.
        weights: Relative frequency of each labelled row, shape (N,); by default all are equal.
        target: Cutouts of the other survey, for partners; None: there are none.
        offered: Rows of it to draw from, shape (M,).
        magnitudes: Magnitudes of the labelled and of the offered rows, to match partners by.

    Raises:
        ContaminatedError: If a labelled row is not on the training sky.
    """

    def __init__(
        self,
        source: Cutouts,
        labelled: Ints,
        split: SplitConfig,
        *,
        seed: int,
        weights: Array | None = None,
        target: Cutouts | None = None,
        offered: Ints | None = None,
        magnitudes: tuple[Array, Array] | None = None,
    ) -> None:
        self.source, self.labelled, self.seed = source, labelled, seed
        self.z = label_column(source, labelled, split)
        self.chances = None if weights is None else weights / weights.sum()
        self.target, self.offered, self.magnitudes = target, offered, magnitudes

    @classmethod
    def for_methods(
        cls,
        methods: Sequence[str],
        source: Cutouts,
        labelled: Ints,
        target: Cutouts,
        offered: Ints,
        *,
        split: SplitConfig,
        seed: int,
    ) -> Self:
        """Make what ``reweight`` and ``adversarial`` need; other methods leave batches alone.

        Raises:
            MismatchError: If the two files hold cutouts of different kinds.
        """
        require_alike(source, target)
        made = partial(cls, source, labelled, split, seed=seed)
        if not {"reweight", "adversarial"} & set(methods):
            return made()
        here, there = photometry(source, labelled), photometry(target, offered)
        given: dict[str, Any] = {}
        if "reweight" in methods:
            given["weights"] = importance_weights(here, there)
        if "adversarial" in methods:
            given |= {"target": target, "offered": offered}
            given["magnitudes"] = (here[:, 0], there[:, 0])
        return made(**given)

    @property
    def effective_labels(self) -> float:
        """Number of labelled galaxies, drawn equally often, that would be as good."""
        return len(self.labelled) if self.chances is None else effective_number(self.chances)

    def __call__(
        self, *, batch_size: int, start: int, stop: int, part: slice = slice(None)
    ) -> Iterator[Batch]:
        """Batches number ``start`` to ``stop``: a part of ``batch_size`` galaxies, and partners."""
        return prefetched(self._batch(step, batch_size, part) for step in range(start, stop))

    def _batch(self, step: int, size: int, part: slice) -> Batch:
        places = self._places(step, size)
        rows = self.labelled[places[part]]
        batch = replace(read_batch(self.source, rows), z=torch.from_numpy(self.z[rows]))
        if self.target is None or self.offered is None or self.magnitudes is None:
            return batch
        wanted, offered = self.magnitudes
        rng = np.random.default_rng([self.seed, PARTNERS, step])
        partners = self.offered[match_magnitudes(wanted[places], offered, rng=rng)]
        return beside(batch, read_batch(self.target, partners[part]))

    def _places(self, step: int, size: int) -> Ints:
        everyone = np.arange(len(self.labelled))
        if self.chances is None:
            return deal(everyone, [self.seed, 0], step * size, size)
        rng = np.random.default_rng([self.seed, WEIGHTED, step])
        return rng.choice(everyone, size, p=self.chances)


def beside(batch: Batch, partners: Batch) -> Batch:
    """Put galaxies without redshifts behind those of a batch."""
    names = ("flux", "ebv_mag", "psf_fwhm_arcsec", "noise")
    both = {name: torch.cat([getattr(batch, name), getattr(partners, name)]) for name in names}
    assert batch.z is not None
    unknown = torch.full((len(partners),), torch.nan, dtype=batch.z.dtype)
    rows = np.concatenate([batch.rows, partners.rows])
    return replace(batch, rows=rows, z=torch.cat([batch.z, unknown]), **both)
