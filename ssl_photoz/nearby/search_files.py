"""A fitted search on disk, so that galaxies that were not there when it was fitted are scored.

Arrays are in ``search.safetensors``, all else in its metadata; nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Doubles, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.heads import Head, KernelHead, LinearHead, PerceptronHead, VoteHead
from ssl_photoz.nearby.search import Calibration, DwarfSearch, Isotonic, Platt
from ssl_photoz.similarity.index_faiss import products_in_one_thread
from ssl_photoz.similarity.reduction import Reduction, take_vectors

SEARCH = "search.safetensors"
Arrays = dict[str, Array]


@dataclass(frozen=True)
class KeptSearch:
    """A fitted search, and what it needs to score other galaxies.

    Attributes:
        search: The fitted methods.
        reduction: Map from embeddings to the unit vectors that votes compare.
        encoder: Checksum of the encoder whose embeddings it was fitted to.
        base_rate: Fraction of wanted galaxies on the sky.
    """

    search: DwarfSearch
    reduction: Reduction
    encoder: str
    base_rate: float

    @products_in_one_thread()
    def columns(self, embeddings: Embeddings) -> dict[str, Array]:
        """``score`` and probabilities of all galaxies of a store, as `DwarfCandidates` has them."""
        rows = np.arange(len(embeddings))
        scores = self.search.score(embeddings, _Units(embeddings, self.reduction), rows)
        columns: dict[str, Array] = {"score": scores[self.search.ranked_by][:, 0]}
        columns |= self.search.probabilities(scores, base_rate=self.base_rate)
        return {name: values.astype(np.float32) for name, values in columns.items()}


@dataclass(frozen=True)
class _Units:
    """Unit vectors of embeddings that are in no index."""

    embeddings: Embeddings
    reduction: Reduction

    def vectors(self, rows: Ints) -> Floats:
        return self.reduction.apply(take_vectors(self.embeddings, rows))


@dataclass(frozen=True)
class Perceptron:
    """A network of scikit-learn as plain arrays.

    Attributes:
        weights: Weights of its layers, from below.
        biases: Biases of its layers.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def predict_proba(self, standard: Floats) -> Doubles:
        """Probability of the two answers, shape (n, 2)."""
        hidden = np.asarray(standard, np.float64)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.maximum(hidden @ weight + bias, 0)
        wanted = 1 / (1 + np.exp(-(hidden @ self.weights[-1] + self.biases[-1])[:, 0]))
        return np.stack([1 - wanted, wanted], axis=1)


def save_search(folder: Path, kept: KeptSearch) -> None:
    """Write a fitted search into a folder of candidates."""
    search, reduction = kept.search, kept.reduction
    arrays: Arrays = {"mean": reduction.mean, "projection": reduction.projection}
    for method, head in search.heads.items():
        arrays |= {f"{method}.{name}": array for name, array in _arrays_of(head).items()}
        for t, one in enumerate(search.calibrations[method]):
            if isinstance(one, Isotonic):
                arrays |= {f"{method}.{t}.score": one.score, f"{method}.{t}.p": one.probability}
    said = {
        **{"encoder": kept.encoder, "base_rate": kept.base_rate, "lift": reduction.lift},
        **{"names": search.names, "precision": dict(search.precision)},
        **{"sample_rate": search.sample_rate, "threshold": search.threshold},
        "calibrations": {m: [_said_of(c) for c in each] for m, each in search.calibrations.items()},
        "heads": {
            method: {"kind": type(head).__name__, "chosen": head.chosen, **_numbers_of(head)}
            for method, head in search.heads.items()
        },
    }
    with atomic_path(folder / SEARCH) as scratch:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        scratch.write_bytes(save(plain, {"search": json.dumps(said)}))


def load_search(folder: Path) -> KeptSearch:
    """Read what `save_search` wrote.

    Raises:
        ArtefactError: If it is missing or damaged.
    """
    path = folder / SEARCH
    if not path.is_file():
        raise ArtefactError(
            f"{folder} has no {SEARCH}: its version kept the list and not what ranked it; run "
            f"dwarfs again, into another folder"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            said = json.loads(file.metadata()["search"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        search = DwarfSearch(
            tuple(said["names"]),
            {m: _head(one, _below(arrays, m)) for m, one in said["heads"].items()},
            {
                method: [_calibration(one, arrays, f"{method}.{t}") for t, one in enumerate(each)]
                for method, each in said["calibrations"].items()
            },
            said["precision"],
            said["sample_rate"],
            said["threshold"],
        )
        reduction = Reduction(arrays["mean"], arrays["projection"], said["lift"])
        return KeptSearch(search, reduction, said["encoder"], said["base_rate"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtefactError(
            f"cannot read {path} ({type(error).__name__}); delete {folder} and run dwarfs again"
        ) from None


def _below(arrays: Arrays, name: str) -> Arrays:
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _arrays_of(head: Head) -> Arrays:
    if isinstance(head, LinearHead):
        return {"weights": head.weights, "bias": head.bias}
    if isinstance(head, VoteHead):
        return {"voters": head.voters, "labels": head.labels}
    if isinstance(head, KernelHead):
        landmarks = head.expansion.components_, head.expansion.normalization_
        named = dict(zip(("landmarks", "normalization"), landmarks, strict=True))
        return {"mean": head.mean, "scale": head.scale, **named, **_arrays_of(head.linear)}
    if isinstance(head, PerceptronHead):
        layers = {
            f"{t}.{kind}{layer}": array
            for t, network in enumerate(head.networks)
            for kind, each in (("weight", network.coefs_), ("bias", network.intercepts_))
            for layer, array in enumerate(each)
        }
        return {"mean": head.mean, "scale": head.scale, **layers}
    raise TypeError(f"{type(head).__name__} cannot be kept")


def _numbers_of(head: Head) -> dict[str, Any]:
    return {"gamma": head.expansion.gamma} if isinstance(head, KernelHead) else {}


def _head(said: Mapping[str, Any], arrays: Arrays) -> Head:
    kind, chosen = said["kind"], tuple(said["chosen"])
    if kind == "VoteHead":
        return VoteHead(arrays["voters"], arrays["labels"], chosen)
    if kind == "PerceptronHead":
        networks = tuple(_network(_below(arrays, str(t))) for t in range(len(chosen)))
        return PerceptronHead(arrays["mean"], arrays["scale"], networks, chosen)
    linear = LinearHead(arrays["weights"], arrays["bias"], chosen)
    if kind == "LinearHead":
        return linear
    expansion = _expansion(arrays["landmarks"], arrays["normalization"], said["gamma"])
    return KernelHead(arrays["mean"], arrays["scale"], expansion, linear)


def _network(arrays: Arrays) -> Perceptron:
    layers = range(len(arrays) // 2)
    weights, biases = (tuple(arrays[f"{k}{n}"] for n in layers) for k in ("weight", "bias"))
    return Perceptron(weights, biases)


def _expansion(landmarks: Floats, normalization: Array, gamma: float) -> Any:  # noqa: ANN401 - sklearn
    from sklearn.kernel_approximation import Nystroem

    made = Nystroem(gamma=gamma, n_components=len(landmarks))
    made.components_, made.normalization_ = landmarks, normalization
    made.component_indices_, made.n_features_in_ = np.arange(len(landmarks)), landmarks.shape[1]
    return made


def _said_of(calibration: Calibration | None) -> dict[str, Any] | None:
    if isinstance(calibration, Isotonic):
        return {"method": calibration.method, "least": calibration.least}
    if isinstance(calibration, Platt):
        said = {"slope": calibration.slope, "intercept": calibration.intercept}
        return {"method": calibration.method, **said}
    return None


def _calibration(said: Mapping[str, Any] | None, arrays: Arrays, name: str) -> Calibration | None:
    if said is None:
        return None
    if said["method"] == "isotonic":
        return Isotonic(arrays[f"{name}.score"], arrays[f"{name}.p"], said["least"])
    return Platt(said["slope"], said["intercept"])
