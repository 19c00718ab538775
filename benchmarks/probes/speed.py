"""How long the probes take at the challenge's size, on made-up features.

    python benchmarks/probes/speed.py

250,000 labelled galaxies with 180 features: 24 hidden directions and noise; ln(1+z) bends with two
of them. Fitting includes the choice of settings on 10,000 more; predicting is for 50,000 others.
"""

from __future__ import annotations

import time

import numpy as np

from ssl_photoz.core.types import Doubles, Floats
from ssl_photoz.photoz.artefact import PROBES
from ssl_photoz.photoz.metrics import residuals, sigma_nmad

LABELLED, VALIDATION, ASKED = 250_000, 10_000, 50_000
DIM, HIDDEN = 180, 24
TIMED = ("knn", "ridge", "svr", "mlp")


def draw(n: int, mixing: Floats, rng: np.random.Generator) -> tuple[Floats, Doubles]:
    """Features (n, 180) and redshifts (n,)."""
    hidden = rng.normal(size=(n, HIDDEN)).astype(np.float32)
    features = hidden @ mixing + 0.5 * rng.normal(size=(n, DIM)).astype(np.float32)
    target = 0.15 + 0.05 * np.tanh(hidden[:, 0]) + 0.02 * hidden[:, 1]
    return features.astype(np.float32), np.expm1(
        np.clip(target + 0.01 * rng.normal(size=n), 0.003, 0.6)
    )


def main() -> None:
    """Time every probe, once."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(HIDDEN, DIM)).astype(np.float32)
    (features, z), (val, val_z), (asked, asked_z) = (
        draw(n, mixing, rng) for n in (LABELLED, VALIDATION, ASKED)
    )
    print(f"{'probe':<8}{'fit, s':>8}{'predict, s':>12}{'sigma_NMAD':>12}")
    for name in TIMED:
        started = time.perf_counter()
        probe = PROBES[name]().fit(features, z, validation=(val, val_z))
        fitted = time.perf_counter()
        predicted = probe.predict(asked)
        done = time.perf_counter()
        score = sigma_nmad(residuals(predicted, asked_z))
        print(f"{name:<8}{fitted - started:>8.1f}{done - fitted:>12.1f}{score:>12.4f}", flush=True)


if __name__ == "__main__":
    main()
