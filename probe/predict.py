"""The program that gives galaxies redshifts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_photoz.core import workplace
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.training.supervised.settings import BandsConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz.folders import ProbeFolder
    from ssl_photoz.training.supervised.artefact import TrainedNetwork

Rows = Literal["unlabelled", "all"]


def predict(
    probe: PathLike | ProbeFolder | TrainedNetwork,
    out: PathLike,
    *,
    embeddings: PathLike | Embeddings | None = None,
    data: PathLike | Cutouts | None = None,
    which: Literal["knn", "ridge", "svr", "mlp", "blend", "boosting", "mean"] = "mlp",
    rows: Rows = "unlabelled",
    mask: PathLike | None = None,
    orientations: Literal[1, 2, 4, 8] = 8,
    density: PathLike | None = None,
    bands: BandsConfig = BandsConfig(),
) -> Path:
    """Give galaxies redshifts, by a probe on embeddings or a network on cutouts.

        ssl-photoz predict runs/demo/probe embeddings=runs/demo/embeddings out=photoz.parquet
        ssl-photoz predict runs/supervised data=new.h5 out=photoz.parquet
        ssl-photoz predict runs/supervised data=cutouts.h5 out=runs/bands bands.measure=true

    A classifier of nearby galaxies gives ``p_nearby`` instead of a redshift. Cutouts that cannot
    be used are listed, with the reason, in ``photoz.parquet.rejects.parquet``.

    Args:
        probe: Folder of probe, with embeddings; folder of supervise or transfer, with data.
        out: Table to write: .parquet, .fits, .csv or .vot; with bands.measure a folder.
        embeddings: Embeddings of the encoder that the probe was fitted to.
        data: Cutouts of the kind that the network was trained on: a file or folder of any format,
            or a dataset YAML.
        which: Probe of the folder, with embeddings; knn also lists the neighbours it used.
        rows: Galaxies without a usable redshift, or all.
        mask: Mask for the cutouts, whose rejected cutouts are rejected here.
        orientations: Number of exact orientations that a network's answers are averaged over.
        density: Parquet file of calibrated densities, of a network with redshift bins.
        bands: How much a network gets from each band.

    Returns:
        The table, or the folder.

    Raises:
        ConfigError: If settings do not go together.
        MismatchError: If embeddings or cutouts are not of the kind that the probe was made for.
        DataError: If no galaxy is left to predict, or the format of out cannot hold the ids.
    """
    if (embeddings is None) == (data is None):
        raise ConfigError("give embeddings= for a probe, or data= for a network, and only one")
    if embeddings is not None:
        given = {"mask": mask, "density": density, "bands.measure": bands.measure or None}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise ConfigError(f"{', '.join(wrong)} is for a network: give data=, not embeddings=")
        folder = Path(probe) if isinstance(probe, str | Path) else probe.folder
        return _from_embeddings(folder, Path(out), embeddings, which, rows)
    assert data is not None
    if density is not None and Path(density).suffix != ".parquet":
        ending = Path(density).suffix
        raise ConfigError(f"density={density} ends in {ending!r}, expected .parquet")
    if density is not None:
        workplace.require_place(Path(density), folder=False)
    if bands.measure:
        if mask is not None or density is not None:
            raise ConfigError("bands.measure measures on the test galaxies: no mask=, no density=")
        from ssl_photoz.photoz.band_importance import write_bands
        from ssl_photoz.training.supervised.artefact import load_network

        network = load_network(_network(probe))
        return write_bands(Path(out), network, data, bands, orientations=orientations)
    mask, density = (None if one is None else Path(one) for one in (mask, density))
    return _from_cutouts(_network(probe), Path(out), data, rows, mask, orientations, density)


def _network(probe: PathLike | ProbeFolder | TrainedNetwork) -> PathLike | TrainedNetwork:
    from ssl_photoz.photoz.folders import ProbeFolder

    return probe.folder if isinstance(probe, ProbeFolder) else probe


def _from_embeddings(
    folder: Path,
    out: Path,
    embeddings: PathLike | Embeddings,
    which: str,
    rows: Rows,
) -> Path:
    from ssl_photoz.catalog import tables
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz import artefact
    from ssl_photoz.photoz.label_coverage import LabelCoverage, outside

    tables.require_suffix(out)
    store = Embeddings.open(embeddings)
    card, probe = artefact.load_probe(folder, which)
    artefact.check_belongs(folder, card, store)
    wanted = artefact.wanted_rows(store, rows)
    ids = store.column("id")
    tables.require_writable(out, {"id": ids if which == "knn" else ids[wanted]})
    coverage = LabelCoverage.load(folder)
    columns = artefact.predict_rows(
        probe, store, wanted, features=card["features"], coverage=coverage
    )
    simulated = card.simulated or store.card.simulated
    tables.write_table(out, columns, simulated=simulated)
    seen = "; those the probe was fitted to are among them" if rows == "all" else ""
    bare = ""
    if coverage is not None:
        bare = f"; {int(outside(columns).sum())} outside of the labels (label_coverage < 0.05)"
    print(
        f"{'SIMULATED: ' if simulated else ''}{len(columns['id'])} of {len(store)} galaxies "
        f"({rows}) given a redshift by {which}{seen}{bare}: {out}"
    )
    return out


def _from_cutouts(
    folder: PathLike | TrainedNetwork,
    out: Path,
    data: PathLike | Cutouts,
    rows: Rows,
    mask: Path | None,
    orientations: int,
    density: Path | None,
) -> Path:
    import torch

    from ssl_photoz.catalog.tables import require_suffix, require_writable, write_table
    from ssl_photoz.cutouts.mask import cutout_parents, masked_rows
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.rejects import SCAN, write_rejects
    from ssl_photoz.photoz.density_table import calibrated_parts, load_calibration, write_densities
    from ssl_photoz.photoz.end_to_end import predict_cutouts
    from ssl_photoz.training.supervised.artefact import load_network
    from ssl_photoz.training.supervised.heads import edges_of

    require_suffix(out)
    cutout_parents(data, mask)
    network = load_network(folder, device="cuda" if torch.cuda.is_available() else "cpu")
    edges = edges_of(network.head)
    if density is not None and edges is None:
        raise ConfigError(f"{network.folder} gives no densities: density wants head.kind=bins")
    calibration = None if density is None else load_calibration(network.folder)
    with Cutouts.open(data) as cutouts:
        ids = cutouts.column("id")
        require_writable(out, {"id": ids})
        found = predict_cutouts(
            network,
            cutouts,
            rows=rows,
            masked=masked_rows(mask),
            orientations=orientations,
        )
        simulated = network.card.simulated or cutouts.source.simulated
    if density is not None and calibration is not None and edges is not None:
        columns = {**{k: found.columns[k] for k in ("id", "ra", "dec")}, "z_spec": found.z_spec}
        parts = calibrated_parts(calibration, edges, found.answers, columns)
        write_densities(density, parts, simulated=simulated)
    rejects = out.with_name(f"{out.name}.rejects.parquet")
    write_rejects(rejects, ids, {SCAN: found.rejected})
    write_table(out, found.columns, simulated=simulated)
    print(
        f"{'SIMULATED: ' if simulated else ''}{len(found.columns['id'])} of {len(ids)} galaxies "
        f"({rows}) predicted, {len(found.rejected)} rejects in {rejects.name}: {out}"
    )
    return out
