"""The probe artefact: fitted probes written, read, and applied to a whole embeddings folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm import tqdm

from ssl_photoz.catalog.writable import to_arrow
from ssl_photoz.core import artefact
from ssl_photoz.core.artefact import Fact
from ssl_photoz.core.errors import ArtefactError, DataError, MismatchError
from ssl_photoz.core.types import Array, Bools, PathLike
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.base import Prediction, Probe
from ssl_photoz.photoz.blend import Blend
from ssl_photoz.photoz.knn import KNN, NeighbourDensity
from ssl_photoz.photoz.label_coverage import LabelCoverage
from ssl_photoz.photoz.labels import in_step
from ssl_photoz.photoz.networks import MLP, Mixture
from ssl_photoz.photoz.regressors import SVR, Boosting, Mean, Ridge
from ssl_photoz.photoz.settings import Features

PROBES: dict[str, type[Probe]] = {
    "knn": KNN,
    "ridge": Ridge,
    "svr": SVR,
    "mlp": MLP,
    "blend": Blend,
    "boosting": Boosting,
    "mean": Mean,
}
DENSITIES: dict[str, type[Probe]] = {"neighbours": NeighbourDensity, "mixture": Mixture}
EVERY_PROBE = PROBES | DENSITIES
FittedProbe = TypeVar("FittedProbe", bound=Probe)


class ProbeCard(artefact.Card):
    """What the card of a probe folder says.

    Attributes:
        probes: Names of the probes that the folder holds.
        label: What its features are called in tables and figures.
        features: What the probes read: ``embedding``, ``aperture``, ``both`` or ``pixels``.
        encoder: Checksum of the card of the encoder whose embeddings they were fitted to.
        labels: Split to number of labelled galaxies.
    """

    probes = Fact(list[str])
    label = Fact(str, "")
    features = Fact(str, "embedding")
    encoder = Fact(str, "")
    labels = Fact(dict[str, int], {})


def read_probe_card(folder: PathLike) -> ProbeCard:
    """The card of a finished probe folder.

    Raises:
        ArtefactError: If the folder is unfinished.
        MismatchError: If it is another artefact.
    """
    return ProbeCard(artefact.read_card(Path(folder), "probe"))


def save_probe(
    folder: Path,
    probes: Mapping[str, Probe],
    *,
    metrics: Mapping[str, Any],
    predictions: Mapping[str, Array],
    config: object,
    parents: Mapping[str, str],
    **facts: object,
) -> ProbeCard:
    """Write a probe folder, its card last.

    Args:
        folder: Folder to write to.
        probes: Name to fitted probe; names are keys of `EVERY_PROBE`.
        metrics: Content of ``metrics.json``.
        predictions: Columns of ``predictions.parquet``, the test split.
        config: The settings.
        parents: sha256 of the embeddings.
        **facts: Facts for the card: ``encoder``, ``features``, ``simulated``, ``calibrated`` ...
    """
    for name, probe in probes.items():
        save_fitted(folder / f"{name}.safetensors", probe)
    with artefact.atomic_path(folder / "predictions.parquet") as scratch:
        columns = {k: to_arrow(k, v) for k, v in predictions.items()}
        pq.write_table(pa.table(columns), scratch)
    artefact.write_json(folder / "metrics.json", metrics)
    card = artefact.write_card(
        folder, "probe", config=config, parents=parents, probes=list(probes), **facts
    )
    return ProbeCard(card)


def save_fitted(path: Path, probe: Probe) -> None:
    """Write one fitted probe to a file."""
    arrays = {key: np.ascontiguousarray(array) for key, array in probe.arrays().items()}
    given = {key: _plain(value) for key, value in probe.get_params(deep=False).items()}
    with artefact.atomic_path(path) as scratch:
        scratch.write_bytes(save(arrays, {"hyper_parameters": json.dumps(given)}))


def load_fitted(path: Path, kind: type[FittedProbe]) -> FittedProbe:
    """Read the probe that `save_fitted` wrote.

    Raises:
        ArtefactError: If the file is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            given = json.loads((file.metadata() or {}).get("hyper_parameters", "{}"))
            probe = kind.from_arrays({k: file.get_tensor(k) for k in file.keys()})
        probe.set_params(**{key: _as_given(value) for key, value in given.items()})
        return probe
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ArtefactError(
            f"cannot read {path} ({type(error).__name__}); delete {path.parent} and run probe again"
        ) from None


def load_probe(folder: PathLike, which: str) -> tuple[ProbeCard, Probe]:
    """One fitted probe and the card of its folder.

    Raises:
        ArtefactError: If the folder is unfinished, has no such probe, or the file is damaged.
    """
    folder = Path(folder)
    card = read_probe_card(folder)
    if which not in card.probes:
        raise ArtefactError(f"{folder} holds no probe {which!r}; it holds {', '.join(card.probes)}")
    return card, load_fitted(folder / f"{which}.safetensors", EVERY_PROBE[which])


def read_predictions(folder: PathLike) -> dict[str, Array]:
    """The test-split table of a probe folder, column by column."""
    read_probe_card(folder)
    path = Path(folder) / "predictions.parquet"
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(f"cannot read {path}: {error}") from None
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


def _plain(value: object) -> object:
    """A hyper-parameter as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _as_given(value: object) -> object:
    """A hyper-parameter of JSON as classes take it: several values are a tuple."""
    return tuple(value) if isinstance(value, list) else value


Rows = Literal["unlabelled", "all"]


def wanted_rows(embeddings: Embeddings, rows: Rows) -> Bools:
    """Mask of rows to predict.

    Raises:
        DataError: If there is none.
    """
    z = np.asarray(embeddings.column("z"), dtype=np.float64)
    mask = np.ones(len(z), dtype=bool) if rows == "all" else ~usable_labels(z)
    if not mask.any():
        raise DataError(
            f"all {len(z)} galaxies of {embeddings.folder} have a redshift; nothing is left for "
            f"rows=unlabelled: give rows=all"
        )
    return mask


def predict_rows(
    probe: Probe,
    embeddings: Embeddings,
    mask: Bools,
    *,
    features: Features,
    coverage: LabelCoverage | None = None,
) -> dict[str, Array]:
    """Columns of a prediction table, one row per chosen row, in their order.

    Args:
        probe: Fitted to these features.
        embeddings: The store.
        mask: Rows to predict, shape (N,).
        features: Which vectors the probe reads.
        coverage: Whether labels surround a galaxy, for further columns.

    Returns:
        ``id``, ``ra``, ``dec``, ``z_phot``, ``z_lo``, ``z_hi``, those of `LabelCoverage.columns`
        and, where the probe has them, ``neighbours`` (n, K): ids of the labelled galaxies used.
    """
    ids = embeddings.column("id")
    parts: list[Prediction] = []
    covered: list[dict[str, Array]] = []
    with tqdm(total=int(mask.sum()), desc="predict", unit="galaxy", leave=False) as bar:
        for batch, rows in in_step(embeddings, features, np.arange(len(mask))):
            keep = mask[rows]
            if keep.any():
                parts.append(probe.estimate(batch[keep], ids=ids[rows[keep]]))
                covered.append({} if coverage is None else coverage.columns(batch[keep]))
                bar.update(int(keep.sum()))
    columns: dict[str, Any] = {
        "id": ids[mask],
        "ra": embeddings.column("ra")[mask],
        "dec": embeddings.column("dec")[mask],
    }
    for name in ("z_phot", "z_lo", "z_hi", "neighbours"):
        values = [getattr(part, name) for part in parts]
        if values[0] is not None:
            columns[name] = np.concatenate(values)
    columns |= {name: np.concatenate([one[name] for one in covered]) for name in covered[0]}
    return columns
