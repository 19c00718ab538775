"""The program that takes over encoders and vectors of other projects."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.cutouts.split import SplitConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.encoders.encoder import Encoder


def adopt(
    checkpoint: PathLike | None = None,
    out: PathLike | None = None,
    *,
    vectors: PathLike | None = None,
    data: PathLike | Cutouts | None = None,
    encoder: PathLike | Encoder | None = None,
    network: str | None = None,
    split: SplitConfig = SplitConfig(),
    shard_rows: int = 8192,
) -> Encoder | Embeddings:
    """Make an encoder, or embeddings, from those of another project.

        ssl-photoz adopt checkpoint=last.ckpt out=runs/adopted
        ssl-photoz adopt vectors=representations.npy data=images.h5 out=runs/adopted/embeddings

    Known checkpoints: MoCo v2 of ssl-legacysurvey (Lightning, ResNet-18 and ResNet-50); nothing in
    them is run. Vectors become an embeddings folder, one for each row of ``data``, that `index`,
    `query`, `map` and `probe` take as their own; `join` puts several together.

    Args:
        checkpoint: Lightning checkpoint (.ckpt) of ssl-legacysurvey, for an encoder.
        out: Folder to write.
        vectors: Array (N, D) in a .npy file, its rows those of ``data``, for embeddings.
        data: Cutouts that the vectors were made from; only their catalogue is read.
        encoder: Encoder that made the vectors, where it has been adopted too; new cutouts can then
            be compared with them.
        network: Name of the network that made the vectors, where its encoder is not there: vectors
            of one name belong together, and vectors without one to no others.
        split: The sky split that later steps keep to; that of ``encoder`` where it is given.
        shard_rows: Rows of embeddings per shard.

    Returns:
        The encoder, or the embeddings.

    Raises:
        ConfigError: If it is not clear what to adopt.
        ArtefactError: If the checkpoint asks for code to be run, or holds another network.
        MismatchError: If there are not as many vectors as rows.
        DataError: If the vectors cannot be read, or none can be used.
    """
    if out is None:
        raise ConfigError("out is missing: the folder to write")
    if (checkpoint is None) == (vectors is None):
        raise ConfigError("expected checkpoint=, for an encoder, or vectors= with data=")
    if checkpoint is not None:
        if data is not None or encoder is not None or network is not None:
            raise ConfigError("data, encoder and network belong to vectors, not to a checkpoint")
        return _encoder(Path(checkpoint), Path(out), split)
    if data is None:
        raise ConfigError("data is missing: the cutouts that the vectors were made from")
    if shard_rows < 1:
        raise ConfigError("shard_rows must be at least 1")
    if encoder is not None and network is not None:
        raise ConfigError("network is a name for what made the vectors: give it, or encoder")
    assert vectors is not None
    about = _network(Path(vectors), encoder, network, split)
    return _embeddings(Path(vectors), data, Path(out), shard_rows=shard_rows, **about)


def _encoder(checkpoint: Path, out: Path, split: SplitConfig) -> Encoder:
    from ssl_photoz.encoders.artefact import load_encoder, save_encoder
    from ssl_photoz.encoders.legacysurvey import import_legacysurvey

    encoder, facts = import_legacysurvey(checkpoint)
    parents = {"checkpoint": artefact.sha256_of(checkpoint)}
    made: dict[str, Any] = {"config": {"checkpoint": checkpoint, "split": split}}
    made["parents"] = parents
    if not artefact.begin(out, "encoder", ignore=("checkpoint",), **made):
        print(f"{out} is already made")
        return load_encoder(out)
    save_encoder(
        out,
        encoder,
        **made,
        simulated=False,
        split=asdict(split),
        steps=facts.get("global_step"),
        adopted={"project": "ssl-legacysurvey", **facts},
    )
    built = encoder.config
    print(f"{built.backbone} of ssl-legacysurvey, {encoder.width} features, {built.crop_px} px")
    print(
        f"encoder -> {out}; their representations: embed with readout.stages=last "
        f"readout.orientations=1"
    )
    return load_encoder(out)


def _network(
    vectors: Path, encoder: PathLike | Encoder | None, network: str | None, split: SplitConfig
) -> dict[str, Any]:
    """The network that made the vectors: what the card says of it, its parents, the sky split."""
    from ssl_photoz.encoders.artefact import load_encoder

    parents = {"vectors": artefact.fingerprint(vectors)}
    facts: dict[str, Any] = {"encoder": network or parents["vectors"]}
    facts |= {"stages": "last", "orientations": 1, "crop_px": None}
    if encoder is not None:
        made = load_encoder(encoder)
        parents["encoder"] = made.sha256
        facts |= {"encoder": made.sha256, "crop_px": made.config.crop_px}
        split = SplitConfig.of(made.card.split)
    return {"network": network, "split": split, "parents": parents, "facts": facts}


def _embeddings(
    vectors: Path,
    data: PathLike | Cutouts,
    out: Path,
    *,
    network: str | None,
    split: SplitConfig,
    shard_rows: int,
    parents: dict[str, str],
    facts: dict[str, Any],
) -> Embeddings:
    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.split import sky_split
    from ssl_photoz.embeddings.adopting import adopt_vectors, open_vectors
    from ssl_photoz.embeddings.store import Embeddings

    parents = {"data": cutout_parents(data, None)["cutouts"], **parents}
    config = {"vectors": vectors, "network": network, "split": split, "shard_rows": shard_rows}
    made: dict[str, Any] = {"config": config, "parents": parents}
    if not artefact.begin(out, "embeddings", ignore=("vectors",), **made):
        print(f"{out} is already made")
        return Embeddings.open(out)
    cutouts = Cutouts.open(data)
    try:
        columns = {name: cutouts.column(name) for name in cutouts.columns}
        columns["split"] = sky_split(cutouts, split).names
        source = cutouts.source
    finally:
        if cutouts is not data:
            cutouts.close()
    card = adopt_vectors(
        out,
        open_vectors(vectors),
        columns,
        shard_rows=shard_rows,
        **made,
        **{**source.about, "bands": list(source.bands)},
        simulated=source.simulated,
        split=asdict(split),
        **facts,
    )
    print(f"{card.rows_written} vectors of {card.dim}, {card.rows_rejected} rejected -> {out}")
    return Embeddings.open(out)
