"""With the time that is left: pretraining on a survey that is simulated on the spot."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from ssl_photoz.recipes.pretrain.pretrain import pretrain
from ssl_photoz.recipes.survey.simulate import simulate

from benchmarks.gpu.sizes import Sizes
from ssl_photoz.core.threads import usable_cores
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.cutouts.split import SplitConfig, sky_split
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig
from ssl_photoz.photoz.knn import KNN
from ssl_photoz.photoz.metrics import summarise
from ssl_photoz.simulator.settings import SimulatorConfig
from ssl_photoz.training.settings import MoCoConfig, TrainingConfig

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Report

SPARE_S = 40.0
SPLIT = SplitConfig(fractions=(0.7, 0.2, 0.1))


def measure(report: Report, sizes: Sizes) -> None:
    """Simulate, train for as many epochs as fit, and score neighbours on the validation sky."""
    cores = usable_cores() if torch.cuda.is_available() else 1
    galaxies, crop_px = sizes.survey * cores, sizes.survey_px - 12
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        simulator = SimulatorConfig(size_px=sizes.survey_px)
        cutouts = simulate(
            folder / "survey.h5", galaxies=galaxies, simulator=simulator, workers=cores
        )
        took = time.perf_counter() - started
        report.add(f"simulated, {sizes.survey_px} px", f"{galaxies / took / cores:.0f} /s and core")
        given = {
            "encoder": EncoderConfig(crop_px=crop_px),
            "moco": MoCoConfig(queue_size=max(32 * sizes.batch_size, 64)),
        }
        done, encoder = 0.0, None
        for number, epochs in enumerate((1, 0)):
            if number:  # the first epoch says what the others take
                epochs = int((report.left_s - SPARE_S) / done) if done else 0
                epochs = min(epochs, sizes.epochs)
                if epochs <= 1:
                    break
            started = time.perf_counter()
            encoder = pretrain(
                folder / "survey.h5",
                folder / f"encoder-{number}",
                training=TrainingConfig(epochs=epochs, batch_size=sizes.batch_size),
                split=SPLIT,
                **given,
            )
            done = time.perf_counter() - started
            rate = epochs * galaxies / done
            report.add(
                f"{epochs} epochs of {galaxies:,}", f"{rate:,.0f} images/s", "start included"
            )
        assert encoder is not None
        encoder.to("cuda" if torch.cuda.is_available() else "cpu")
        vectors = encoder.embed(cutouts, config=ReadOutConfig(orientations=1))
        split, known = sky_split(cutouts, SPLIT), usable_labels(cutouts.z)
        train, val = split.train & known, split.val & known
        if min(train.sum(), val.sum()) < 10:
            report.add("neighbours' redshifts", "not scored", "too few galaxies")
            return
        half = np.flatnonzero(val)[::2]
        rest = np.setdiff1d(np.flatnonzero(val), half)
        probe = KNN().fit(
            vectors[train], cutouts.z[train], validation=(vectors[half], cutouts.z[half])
        )
        score = summarise(probe.predict(vectors[rest]), cutouts.z[rest])
        report.add(
            "neighbours' redshifts, validation sky",
            f"sigma {score.sigma_nmad:.4f}",
            f"outliers {score.outliers_05:.1%}, R² {score.r2:.3f}, {len(rest)} galaxies",
        )
        cutouts.close()
