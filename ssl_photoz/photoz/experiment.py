"""Fit probes to the training split, score them on the others, compare them with rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import MismatchError
from ssl_photoz.core.types import Array
from ssl_photoz.photoz.artefact import PROBES, read_predictions
from ssl_photoz.photoz.base import Prediction, Probe
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.scores import compare, score


class Outcome(NamedTuple):
    """What came of an experiment.

    Attributes:
        probes: Name to fitted probe.
        scores: Name to split (``val``, ``test``) to all that `scores.score` says.
        predictions: Columns of the test-split table.
    """

    probes: dict[str, Probe]
    scores: dict[str, dict[str, Any]]
    predictions: dict[str, Array]


def fit_and_score(splits: Mapping[str, Labelled], names: Sequence[str], *, seed: int) -> Outcome:
    """Fit each probe to ``train``, with choices made on ``val``; score on ``val`` and ``test``.

    Args:
        splits: ``train``, ``val`` and ``test``.
        names: Keys of `PROBES`.
        seed: Of every random choice.
    """
    train, val, test = (splits[split] for split in ("train", "val", "test"))
    outcome = Outcome({}, {}, _truth(test))
    for name in names:
        probe = PROBES[name](seed=seed)
        probe.fit(train.features, train.z, validation=(val.features, val.z), ids=train.id)
        tested = probe.estimate(test.features, ids=test.id)
        outcome.probes[name] = probe
        outcome.scores[name] = {
            "test": score(tested, test),
            "val": score(probe.estimate(val.features, ids=val.id), val),
        }
        outcome.predictions.update(_columns(name, tested))
    return outcome


def against_rivals(predictions: Mapping[str, Array], folders: Sequence[Path]) -> list[Any]:
    """Compare every probe with the mean, and with its namesake in other probe folders.

    A folder without a namesake that holds a single estimate, such as a network trained end to
    end, is the rival of every probe.

    Raises:
        ArtefactError: If a folder is no finished probe.
        MismatchError: If a folder has several probes, none of the same name.
    """
    prefix = "z_phot_"
    names = [c.removeprefix(prefix) for c in predictions if c.startswith(prefix)]
    names.remove("mean")
    said = compare(predictions, predictions, dict.fromkeys(names, "mean"), "predicting the mean")
    for folder in folders:
        theirs = read_predictions(folder)
        shared = pair_up(names, theirs, folder)
        label = str(artefact.read_card(folder, "probe")["label"])
        said += compare(predictions, theirs, shared, label)
    return said


def pair_up(names: Sequence[str], theirs: Mapping[str, Array], folder: Path) -> dict[str, str]:
    """Which estimate of a rival's table each probe is set beside.

    Args:
        names: Of the probes.
        theirs: Columns of the rival's table.
        folder: The rival, for the message.

    Raises:
        MismatchError: If the rival has several probes, none of the same name.
    """
    prefix = "z_phot_"
    rivals = [c.removeprefix(prefix) for c in theirs if c.startswith(prefix)]
    rivals = [name for name in rivals if name != "mean"]
    shared = {name: name for name in names if name in rivals}
    if not shared and len(rivals) == 1:
        shared = dict.fromkeys(names, rivals[0])
    if not shared:
        raise MismatchError(
            f"{folder} holds none of the probes {', '.join(names)} to compare with; fit the "
            f"same probes there, or leave it out of versus="
        )
    return shared


def _truth(test: Labelled) -> dict[str, Array]:
    columns = {"id": test.id, "ra": test.ra, "dec": test.dec, "z_spec": test.z}
    return columns if test.magnitude is None else {**columns, "magnitude": test.magnitude}


def _columns(name: str, prediction: Prediction) -> dict[str, Array]:
    return {
        f"z_phot_{name}": prediction.z_phot,
        f"z_lo_{name}": prediction.z_lo,
        f"z_hi_{name}": prediction.z_hi,
    }
