"""Probes on one read-out: fitted to one side of the sky, asked about the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from benchmarks.redshift_ladder.plan import count, says
from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.artefact import PROBES
from ssl_photoz.photoz.base import Probe
from ssl_photoz.photoz.blend import Blend
from ssl_photoz.photoz.experiment import fit_calibrated
from ssl_photoz.photoz.labels import Labelled, fewer

Splits = dict[str, Labelled]
# Few features that were measured: what trees are good at.
PHOTOMETRY = ("aperture", "catalogue", "measurements")


def suited(probes: Sequence[str], read_out: str) -> tuple[str, ...]:
    """Return the probes that a read-out gets: boosting is for photometry alone."""
    unique = dict.fromkeys(probes)
    return tuple(name for name in unique if name != "boosting" or read_out in PHOTOMETRY)


def thinned(splits: Splits, labels: float, seed: int) -> Splits:
    """Keep so many of the training labels, drawn at random."""
    kept = fewer(splits["train"], count(labels, len(splits["train"])), seed=seed)
    return {**splits, "train": kept}


def fit_probes(
    splits: Splits, probes: Sequence[str], read_out: str, labels: float, seed: int
) -> list[pa.Table]:
    """Fit probes; return what each says of the validation and the test galaxies."""
    tables: list[pa.Table] = []
    fitted: dict[str, Probe] = {}
    for name in probes:
        predict = _fit(name, splits, fitted, seed)
        tables += [
            predictions(labels, read_out, name, split, some.id, some.z, predict(some.features))
            for split, some in splits.items()
            if split != "train"
        ]
    return tables


def _fit(
    name: str, splits: Splits, fitted: dict[str, Probe], seed: int
) -> Callable[[Floats], Doubles]:
    """Fit a probe; ``density`` is the median of calibrated densities of a mixture network.

    ``blend`` is made of probes fitted before it, which are kept in ``fitted``, if all are there.
    """
    train, val = splits["train"], splits["val"]
    if name == "density":
        calibrated = fit_calibrated(train, val, method="mlp", seed=seed)
        return lambda features: calibrated.density(features).median()
    if name == "blend" and set(Blend().parts) <= set(fitted):
        probe: Probe = Blend.of(fitted, (val.features, val.z))
    else:
        probe = PROBES[name](seed=seed)
        probe.fit(train.features, train.z, validation=(val.features, val.z), ids=train.id)
    fitted[name] = probe
    return lambda features: probe.predict(features)


def predictions(
    labels: float, read_out: str, probe: str, split: str, ids: Array, z: Array, z_phot: Array
) -> pa.Table:
    """Return a table of predictions, a row per galaxy."""
    same = {"labels": says(labels), "read_out": read_out, "probe": probe, "split": split}
    columns = {name: pa.array([value] * len(ids)) for name, value in same.items()}
    measured = {"id": ids.astype(str).tolist(), "z_spec": z.astype(float), "z_phot": z_phot}
    return pa.table(columns | {name: pa.array(values) for name, values in measured.items()})
