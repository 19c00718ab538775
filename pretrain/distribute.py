"""The program that does to tiles of the sky what others do to one file, on as many machines."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import PathLike
from ssl_photoz.encoders.settings import ReadOutConfig
from ssl_photoz.scaleout.settings import RunnerConfig, TilesConfig

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.scaleout.tiles import Plan
    from ssl_photoz.scaleout.work import Failed, Work

PATHS = ("data", "using", "mask")
MOST_NAMED = 5
NEEDED = {
    "embed": "the folder of an encoder",
    "predict": "the folder of probe",
    "density": "the folder of probe density=true",
    "dwarfs": "the folder of dwarfs",
}


class EmbedOptions(NamedTuple):
    """How cutouts are embedded."""

    mask: Path | None
    readout: ReadOutConfig
    batch_size: int
    thumbnails: bool


class Made(NamedTuple):
    """What is done to tiles, with which settings, and the checksums of what it is done with."""

    task: Work
    config: dict[str, Any]
    parents: dict[str, str]


def distribute(
    work: Literal["embed", "predict", "density", "dwarfs", "convert"],
    data: PathLike,
    out: PathLike,
    *,
    using: PathLike | None = None,
    mask: PathLike | None = None,
    readout: ReadOutConfig = ReadOutConfig(),
    batch_size: int = 256,
    thumbnails: bool = True,
    which: Literal["knn", "ridge", "svr", "mlp", "blend", "boosting", "mean"] = "mlp",
    tiles: TilesConfig = TilesConfig(),
    runner: RunnerConfig = RunnerConfig(),
    holes: Literal["refuse", "leave"] = "refuse",
) -> Embeddings | Path:
    """Embed or predict tile by tile, on one machine or many; the output is a HATS catalogue.

        ssl-photoz distribute embed data=cutouts.h5 using=runs/encoder out=E runner.kind=dask
        ssl-photoz distribute predict data=E using=runs/probe out=photoz runner.kind=dask
        srun ssl-photoz distribute embed data=cutouts.h5 using=runs/encoder out=E runner.kind=ranks
        ssl-photoz distribute embed data=cutouts.h5 using=runs/encoder out=E runner.kind=none

    Each tile is written whole or not at all; one that fails is named, in failed/ of the output, and
    the others go on. The same command makes those that are missing. Processes of runner.kind=ranks
    make tiles only; runner.kind=none then makes them a catalogue, as the other runners do by
    themselves.

    Args:
        work: What is done: embed cutouts, or convert them, which copies them; predict redshifts,
            or their density, of embeddings; score them as dwarfs.
        data: Cutouts, a file or folder of any format; or embeddings that this verb has made.
        out: Folder to write: a HATS catalogue, and that of embed is an embeddings folder too.
        using: Encoder folder to embed with; probe folder to predict with; for a density, the
            folder of probe density=true; for dwarfs, the folder of dwarfs.
        mask: Mask of the cutouts; rows that it rejects get no embedding.
        readout: What is read from the network.
        batch_size: Cutouts per pass through the encoder.
        thumbnails: Whether to keep a small colour picture of each galaxy.
        which: Probe of the folder, to predict with.
        tiles: Size of the tiles that cutouts are divided into.
        runner: What runs the tiles.
        holes: Whether tiles that failed are left out of the catalogue, which then says so, or are
            a reason to make none.

    Returns:
        The embeddings, or the folder.

    Raises:
        ConfigError: If a setting cannot be meant, or libraries are missing.
        MismatchError: If data and using do not belong together, or the folder holds work made
            with others, or with other settings.
        ArtefactError: If another process is at work in the folder, or tiles are missing.
        DataError: If tiles failed; it names them.
    """
    import os

    from ssl_photoz.scaleout.finish import finish_run
    from ssl_photoz.scaleout.hats import require_hats
    from ssl_photoz.scaleout.runners import run_tiles, share_of_rank

    data, out = Path(data).absolute(), Path(out).absolute()
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}, expected at least 1")
    if mask is not None and work != "embed":
        raise ConfigError("a mask says which cutouts get no embedding: give it with work=embed")
    require_hats()
    if runner.kind == "ranks":
        share_of_rank(os.environ)
    if work == "convert":
        task, config, parents = _conversion(data, out, tiles)
    elif using is None:
        raise ConfigError(f"work={work} needs using=: {NEEDED[work]}")
    elif work == "embed":
        options = EmbedOptions(
            None if mask is None else Path(mask).absolute(), readout, batch_size, thumbnails
        )
        task, config, parents = _embedding(data, out, Path(using).absolute(), options, tiles)
    else:
        task, config, parents = _prediction(work, data, out, Path(using).absolute(), which)
    config |= {"work": work, "data": data}
    made: dict[str, Any] = {"config": config, "parents": parents}
    with artefact.claimed(out, shared=runner.kind == "ranks"):
        _open_again(out, task.KIND, **made)
        if not artefact.begin(out, task.KIND, ignore=PATHS, **made):
            print(f"{out} is already made")
            return _opened(out, work)
        plan = _plan(task, tiles)
        failed = run_tiles(task, plan.tiles, runner)
        if failed and holes == "refuse":
            raise DataError(_failures(out, failed, plan))
        if runner.kind == "ranks":
            print("this process has made its share of the tiles; runner.kind=none finishes them")
            return out
        card = finish_run(task, plan, leave_holes=holes == "leave", **made)
    print(
        f"{plan.rows} rows in, {len(plan.tiles)} tiles, {card['rows_written']} rows written, "
        f"{card['rows_rejected']} rejected -> {out}"
    )
    return _opened(out, work)


def _embedding(
    data: Path, out: Path, encoder: Path, options: EmbedOptions, tiles: TilesConfig
) -> Made:
    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.scaleout.work import EmbedTiles

    artefact.read_card(encoder, "encoder")
    sha256 = artefact.sha256_of(encoder)
    config = {"using": encoder, **options._asdict(), "tiles": tiles}
    parents = {"encoder": sha256, **cutout_parents(data, options.mask)}
    return Made(EmbedTiles(out, data, encoder, sha256, *options), config, parents)


def _conversion(data: Path, out: Path, tiles: TilesConfig) -> Made:
    from ssl_photoz.cutouts.mask import cutout_parents
    from ssl_photoz.scaleout.work import ConvertTiles

    return Made(ConvertTiles(out, data), {"tiles": tiles}, cutout_parents(data, None))


def _prediction(work: str, data: Path, out: Path, using: Path, which: str) -> Made:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.nearby.search_files import load_search
    from ssl_photoz.photoz.artefact import check_belongs, load_probe
    from ssl_photoz.photoz.density_table import load_calibrated
    from ssl_photoz.scaleout.work import DensityTiles, DwarfTiles, PredictTiles

    store, used = Embeddings.open(data), artefact.sha256_of(using)
    parents = {"embeddings": store.sha256, "using": used}
    given = (out, data, store.sha256, using, used)
    if work == "predict":
        card, _ = load_probe(using, which)
        check_belongs(using, card, store)
        return Made(PredictTiles(*given, which), {"using": using, "which": which}, parents)
    if work == "dwarfs":
        artefact.read_card(using, "dwarfs")
        check_belongs(using, artefact.Card(encoder=load_search(using).encoder), store)
        return Made(DwarfTiles(*given), {"using": using}, parents)
    load_calibrated(using)
    check_belongs(using, artefact.read_card(using, "densities"), store)
    return Made(DensityTiles(*given), {"using": using}, parents)


def _plan(task: Work, tiles: TilesConfig) -> Plan:
    """The tiles of a run; an encoder that fits none of the cutouts is refused."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.scaleout.tiles import plan_cutouts, plan_embeddings

    if task.KIND == "predictions":
        return plan_embeddings(Embeddings.open(task.data))
    plan = plan_cutouts(task.data, task.out, tiles)
    with suppress(DataError):  # a damaged tile is refused when its turn comes
        task.card_facts(plan.tiles[0])
    return plan


def _open_again(out: Path, kind: str, **made: Any) -> None:  # noqa: ANN401 - config and parents
    """Take away the card of a catalogue with holes, so that they are filled."""
    if (out / "card.json").exists() and "tiles_missing" in artefact.read_json(out / "card.json"):
        artefact.already_made(out, kind, ignore=PATHS, **made)
        (out / "card.json").unlink(missing_ok=True)  # ranks do so at once


def _failures(out: Path, failed: list[Failed], plan: Plan) -> str:
    said = "; ".join(f"{one.name} ({one.error}: {one.message})" for one in failed[:MOST_NAMED])
    more = f"; and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
    return (
        f"{len(failed)} of {len(plan.tiles)} tiles failed: {said}{more}. {out / 'failed'} has "
        f"the details; the same command tries them again, holes=leave goes on without them"
    )


def _opened(out: Path, work: str) -> Embeddings | Path:
    from ssl_photoz.embeddings.store import Embeddings

    return Embeddings.open(out) if work == "embed" else out
