"""The probe artefact: fitted probes, how well they do, and the figures that show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, MismatchError
from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.blend import Blend
from ssl_photoz.photoz.boosting import Boosting
from ssl_photoz.photoz.knn import KNN
from ssl_photoz.photoz.linear import Ridge
from ssl_photoz.photoz.mean import Mean
from ssl_photoz.photoz.mlp import MLP
from ssl_photoz.photoz.protocol import Probe
from ssl_photoz.photoz.svr import SVR

PROBES: dict[str, type[Probe]] = {
    "knn": KNN,
    "ridge": Ridge,
    "svr": SVR,
    "mlp": MLP,
    "blend": Blend,
    "boosting": Boosting,
    "mean": Mean,
}


def save_probe(
    folder: Path,
    probes: Mapping[str, Probe],
    *,
    metrics: Mapping[str, Any],
    predictions: Mapping[str, Array],
    config: object,
    parents: Mapping[str, str],
    **facts: object,
) -> artefact.Card:
    """Write a probe folder, its card last.

    Args:
        folder: Where to.
        probes: Name to fitted probe; names are keys of `PROBES`.
        metrics: For ``metrics.json``.
        predictions: Columns of ``predictions.parquet``, the test split.
        config: The settings.
        parents: sha256 of the embeddings.
        **facts: For the card: ``encoder``, ``features``, ``simulated``, ``calibrated`` ...
    """
    for name, probe in probes.items():
        arrays = {key: np.ascontiguousarray(array) for key, array in probe.arrays().items()}
        with artefact.atomic_path(folder / f"{name}.safetensors") as scratch:
            scratch.write_bytes(save(arrays))
    with artefact.atomic_path(folder / "predictions.parquet") as scratch:
        pq.write_table(pa.table({k: pa.array(v.tolist()) for k, v in predictions.items()}), scratch)
    artefact.write_json(folder / "metrics.json", metrics)
    return artefact.write_card(
        folder, "probe", config=config, parents=parents, probes=list(probes), **facts
    )


def load_probe(folder: Path, which: str) -> tuple[artefact.Card, Probe]:
    """Read one fitted probe and the card of its folder.

    Raises:
        ArtefactError: If the folder is unfinished, has no such probe, or the file is damaged.
    """
    card = artefact.read_card(folder, "probe")
    if which not in card["probes"]:
        raise ArtefactError(
            f"{folder} holds no probe {which!r}; it holds {', '.join(card['probes'])}"
        )
    path = folder / f"{which}.safetensors"
    try:
        return card, PROBES[which].from_arrays(load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ArtefactError(
            f"cannot read {path} ({type(error).__name__}); delete {folder} and run probe again"
        ) from None


def read_predictions(folder: Path) -> dict[str, Array]:
    """Read the test-split table of a probe folder, column by column."""
    artefact.read_card(folder, "probe")
    try:
        table = pq.read_table(folder / "predictions.parquet")
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(f"cannot read {folder / 'predictions.parquet'}: {error}") from None
    return {name: table.column(name).to_numpy() for name in table.column_names}


def check_belongs(folder: Path, card: artefact.Card, embeddings: Embeddings) -> None:
    """Refuse embeddings made by another encoder than those the probe was fitted to.

    Raises:
        MismatchError: If the encoders differ; names both sides.
    """
    fitted, given = card["encoder"], embeddings.card.get("encoder")
    if fitted != given:
        raise MismatchError(
            f"probe {folder} was fitted to embeddings of encoder {str(fitted)[:12]}, but "
            f"{embeddings.folder} was made with encoder {str(given)[:12]}; embed the cutouts with "
            f"the probe's encoder, or fit a probe to these embeddings"
        )
