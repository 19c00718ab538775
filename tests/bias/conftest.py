"""A survey whose biases are known by construction."""

import numpy as np
import pytest
from sklearn.base import clone

from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.photoz.bias import head, steps
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.networks import MLP

CENTRE, SPREAD, NOISE = 0.12, 0.025, 0.025  # of ln(1+z)


def draw(n, *, seed=0, noise=NOISE):
    """Many galaxies near one redshift, few elsewhere; features are it, as noisy as it is spread.

    The best estimate of such a galaxy lies halfway to the centre, the more so the fainter it is.
    """
    rng = np.random.default_rng(seed)
    crowd = rng.random(n) < 0.8
    target = np.where(crowd, CENTRE + SPREAD * rng.normal(size=n), rng.uniform(0.01, 0.25, n))
    target = np.clip(target, 0.01, 0.25)
    magnitude = 15 + 18 * target + 0.7 * rng.normal(size=n)
    fainter = 1 + 0.3 * (magnitude - magnitude.mean())
    seen = target + noise * np.clip(fainter, 0.4, 2) * rng.normal(size=n)
    features = np.stack(
        [np.sin(8 * seen), np.cos(8 * seen), seen, magnitude, rng.normal(size=n)], axis=1
    )
    return features.astype("f4"), np.expm1(target), magnitude


def labelled(n, *, seed=0, **keywords):
    features, z, magnitude = draw(n, seed=seed, **keywords)
    rng = np.random.default_rng(seed + 1)
    return Labelled(
        features=features,
        z=z,
        id=rng.permutation(10 * n)[:n] + 10**6 * seed,
        ra=rng.uniform(0, 360, n),
        dec=rng.uniform(-60, 60, n),
        magnitude=magnitude,
    )


@pytest.fixture
def survey():
    """Return the function that draws labelled galaxies."""
    return labelled


@pytest.fixture
def quick(monkeypatch):
    """Small heads, few steps, few folds."""
    monkeypatch.setattr(head, "PERCEPTRONS", MLP(hidden=32, members=1, dropout=0.0, steps=160))
    monkeypatch.setattr(steps, "FOLDS", 2)


@pytest.fixture
def make_store(tmp_path):
    """Return a function that writes embeddings of such galaxies, a tenth without redshift."""

    def write(name="embeddings", *, n=900, seed=0, change=None, **facts):
        rng = np.random.default_rng(seed)
        features, z, magnitude = draw(n, seed=seed)
        columns = {
            "id": rng.permutation(n) + 2**60,
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-60, 60, n),
            "z": np.where(np.arange(n) % 10 == 0, np.nan, z).astype("f4"),
            "split": rng.choice(["train", "val", "test"], n, p=[0.6, 0.2, 0.2]),
            "mag_r": magnitude.astype("f4"),
        }
        if change is not None:
            change(columns)
        return write_embeddings(tmp_path / name, columns, features, encoder="e" * 64, **facts)

    return write


@pytest.fixture
def hasty(quick, monkeypatch):
    """Hardly any steps, where it is no matter how good heads are."""
    monkeypatch.setattr(head, "PERCEPTRONS", clone(head.PERCEPTRONS).set_params(steps=20))
