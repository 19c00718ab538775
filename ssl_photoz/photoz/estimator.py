"""Photometric redshifts of embeddings: the estimator that notebooks use, and its score."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats, PathLike
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.photoz.artefact import (
    EVERY_PROBE,
    ProbeCard,
    load_probe,
    read_probe_card,
    save_probe,
)
from ssl_photoz.photoz.base import Prediction, Probe, RedshiftEstimator, Validation
from ssl_photoz.photoz.density import Density, DensityProbe
from ssl_photoz.photoz.metrics import score
from ssl_photoz.photoz.regressors import Regressor

__all__ = ["PhotoZ", "score"]


class PhotoZ(RedshiftEstimator):
    """Photometric redshifts from embeddings, with intervals that hold the truth 68 % of the time.

        photoz = PhotoZ("mlp", hidden=64).fit(X, z, validation=(X_val, z_val))
        z, lo, hi = photoz.predict(X_new, interval=True)

    Galaxies without a usable redshift (finite, above 0) are left out of a fit and counted. It is an
    estimator as scikit-learn knows them; hyper-parameters are those of the probe, such as
    ``estimator__hidden``.

    Args:
        estimator: Name of a probe (``knn``, ``ridge``, ``svr``, ``mlp``, ``blend``, ``boosting``,
            ``mean``; with densities ``neighbours``, ``mixture``), a probe, or any regressor of
            scikit-learn's kind, which is fitted to ln(1+z).
        **hyper_parameters: Arguments of the probe of that name.

    Attributes:
        estimator_: The fitted probe.
        card: What is known of the fit: galaxies used (``labels``) and left out
            (``without_redshift``) by ``train`` and ``val``; the card of the folder for one that
            was saved or loaded; empty before the fit.

    Raises:
        ConfigError: If there is no such probe.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(300, 4))
        >>> z = np.exp(0.2 + 0.05 * np.tanh(X[:, 0])) - 1
        >>> photoz = PhotoZ("ridge").fit(X[:200], z[:200])
        >>> bool(score(photoz.predict(X[200:]), z[200:]).sigma_nmad < 0.01)
        True
    """

    def __init__(self, estimator: Any = "mlp", **hyper_parameters: Any) -> None:  # noqa: ANN401
        if isinstance(estimator, str):
            if estimator not in EVERY_PROBE:
                raise ConfigError(
                    f"no probe {estimator!r}; expected one of {', '.join(EVERY_PROBE)}"
                )
            try:
                estimator = EVERY_PROBE[estimator](**hyper_parameters)
            except TypeError as error:
                raise ConfigError(f"{error}; help({EVERY_PROBE[estimator].__name__})") from None
        elif hyper_parameters:
            raise ConfigError(
                f"{', '.join(hyper_parameters)} belong to the estimator that was given"
            )
        self.estimator = estimator
        self.card = ProbeCard()

    def fit(
        self,
        X: Array,
        z: Array,
        *,
        validation: Validation | None = None,
        ids: Array | None = None,
        sample_weight: Array | None = None,
        z_error: Array | None = None,
    ) -> Self:
        """Fit to the galaxies that have a redshift.

        Args:
            X: Features, shape (N, D).
            z: Spectroscopic redshifts, shape (N,); NaN where there is none.
            validation: Features (M, D) and redshifts (M,) of other galaxies, to choose settings
                and calibrate intervals on; a random tenth of the N by default, held out of the
                fit.
            ids: Identifiers, shape (N,); row numbers by default.
            sample_weight: How much each galaxy counts, shape (N,).
            z_error: Standard deviations of the redshifts, shape (N,), for ``neighbours`` and
                ``mixture``, which take a label for a Gaussian.

        Returns:
            The estimator itself.

        Raises:
            ConfigError: If the probe takes no weights, or no errors.
            DataError: If no galaxy has a redshift, or a feature is NaN or infinite.
            ShapeError: If shapes do not fit together.
        """
        X, z, kept = _labelled(X, z, "galaxies to fit to")
        counts = {"train": kept}
        held_out: Validation | None = None
        if validation is not None:
            val_X, val_z, counts["val"] = _labelled(*validation, "validation galaxies")
            held_out = val_X[counts["val"]], val_z[counts["val"]]
        given_also = {"ids": ids, "sample_weight": sample_weight, "z_error": z_error}
        given = self.estimator
        probe = clone(given) if isinstance(given, Probe) else Regressor(given)
        self.estimator_: Probe = probe
        self.estimator_.fit(
            X[kept],
            z[kept],
            validation=held_out,
            **{
                name: None if values is None else np.asarray(values)[kept]
                for name, values in given_also.items()
            },
        )
        self.n_features_in_ = self.estimator_.n_features_in_
        self.card = ProbeCard(
            kind="probe",
            labels={split: int(mask.sum()) for split, mask in counts.items()},
            without_redshift={split: int((~mask).sum()) for split, mask in counts.items()},
            chosen=self.estimator_.chosen_,
        )
        return self

    def _estimate(self, X: Floats, ids: Array | None) -> Prediction:
        return self.estimator_.estimate(X, ids=ids)

    def density(self, X: Array) -> Density:
        """Redshift densities, of ``neighbours`` and ``mixture``.

        Args:
            X: Features, shape (M, D).

        Raises:
            ConfigError: If the probe gives no densities.
        """
        check_is_fitted(self)
        if not isinstance(self.estimator_, DensityProbe):
            raise ConfigError(
                f"{_name_of(self.estimator_)} gives no densities; fit neighbours or mixture"
            )
        return self.estimator_.density(X)

    def save(self, folder: PathLike, *, encoder: str = "", label: str = "embedding") -> Path:
        """Write a probe folder that `load`, and the verb ``predict``, read.

        Args:
            folder: Folder to write to.
            encoder: Checksum (``encoder.sha256``) of the encoder that made the features; the verb
                ``predict`` refuses embeddings of any other.
            label: What the features are called in tables and figures.

        Returns:
            The folder.

        Raises:
            ConfigError: If the probe is of a kind that cannot be stored.
            MismatchError: If the folder holds an artefact that is no saved `PhotoZ`.
        """
        check_is_fitted(self)
        folder, name = Path(folder), _name_of(self.estimator_)
        _require_free(folder)
        facts = {
            "label": label,
            "features": "embedding",
            "labels": self.card.labels,
            "simulated": self.card.simulated,
            "calibrated": self.card.calibrated,
        }
        told = {**facts, "magnitude": None, "probes": {}, "versus": []}
        self.card = save_probe(
            folder,
            {name: self.estimator_},
            metrics={**told, "chosen": {name: self.estimator_.chosen_}},
            predictions={},
            config={"estimator": name},
            parents={"encoder": encoder} if encoder else {},
            encoder=encoder,
            **facts,
            without_redshift=self.card.get("without_redshift", {}),
            chosen=self.estimator_.chosen_,
        )
        return folder

    @classmethod
    def load(cls, folder: PathLike, which: str | None = None) -> Self:
        """A fitted estimator of a folder that `save`, or the verb ``probe``, wrote.

        Args:
            folder: The probe folder.
            which: Name of the probe; the only one of the folder by default, or ``mlp``.

        Raises:
            ArtefactError: If the folder is unfinished, damaged, or holds no such probe.
        """
        folder = Path(folder)
        if which is None:
            held = [name for name in read_probe_card(folder).probes if name != "mean"]
            if len(held) > 1 and "mlp" not in held:
                raise ArtefactError(f"{folder} holds {', '.join(held)}; say which=")
            which = held[0] if len(held) == 1 else "mlp" if held else "mean"
        card, probe = load_probe(folder, which)
        made = cls(clone(probe))
        made.estimator_, made.card = probe, card
        return made


def _labelled(X: Array, z: Array, which: str) -> tuple[Array, Doubles, Bools]:
    redshifts = np.asarray(z, dtype=np.float64)
    kept = usable_labels(redshifts)
    if not kept.any():
        raise DataError(f"none of {len(redshifts)} {which} has a redshift (finite, above 0)")
    return np.asarray(X), redshifts, kept


def _require_free(folder: Path) -> None:
    """Refuse to write over an artefact of another kind, or over the probes of a verb."""
    if (folder / "card.json").exists() and "estimator" not in read_probe_card(folder).config:
        raise MismatchError(f"{folder} already holds probes of a verb; save to another folder")


def _name_of(probe: Probe) -> str:
    for name, kind in EVERY_PROBE.items():
        if type(probe) is kind:
            return name
    raise ConfigError(
        f"{type(probe).__name__} cannot be stored; fit one of {', '.join(EVERY_PROBE)}"
    )
