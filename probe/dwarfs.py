"""Rank unlabelled galaxies by how likely they are nearby dwarfs, by several methods.

Methods are fitted to labelled train galaxies and to verdicts, chosen and calibrated on the
validation split, and measured once on the labelled test galaxies, which lie elsewhere on the sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError

MethodName = Literal["vote", "logistic", "mlp", "one_class"]


@dataclass(frozen=True)
class Settings:
    """Rank nearby-dwarf candidates.

    Attributes:
        index: Index folder.
        embeddings: The embeddings folder it was built from.
        out: Folder to write.
        z_max: Nearby means a redshift below this.
        also: Further limits to give probabilities for.
        flag: A column that is true for dwarfs, such as is_dwarf; null: redshift alone.
        stellar_mass_max: Dwarfs have column stellar_mass below this, in its own unit.
        abs_mag_min: Dwarfs have column abs_mag_r above this, mag.
        methods: To compare; mlp takes longest. The best on the validation split ranks the list.
        ks: Numbers of voting neighbours to try on the validation split.
        verdicts: CSV of columns id and verdict (dwarf, not_dwarf, junk), to learn from.
        cuts: Columns of r, g and maybe radius (arcsec), for photometric cuts to compare with.
        magnitude: Column to bin the scores by, such as mag_r.
        population: Column to split the scores by, such as population.
        base_rate: Fraction of nearby dwarfs on the sky, to which figures are re-weighted.
        max_train: Train galaxies to fit to, at most.
        voted: Galaxies to take votes for, at most: the best by the other methods.
        top: Candidates in the list; probabilities.parquet holds every galaxy.
        contaminated: Whether to score, marked as CONTAMINATED, an encoder that has learnt from the
            redshifts it is scored on.
        seed: Of every random choice.
    """

    index: Path
    embeddings: Path
    out: Path
    z_max: float = 0.05
    also: tuple[float, ...] = (0.03,)
    flag: str | None = None
    stellar_mass_max: float | None = None
    abs_mag_min: float | None = None
    methods: tuple[MethodName, ...] = ("vote", "logistic", "one_class")
    ks: tuple[int, ...] = (5, 10, 20, 40, 80)
    verdicts: Path | None = None
    cuts: tuple[str, ...] = ()
    magnitude: str | None = None
    population: str | None = None
    base_rate: float = 0.01
    max_train: int = 20_000
    voted: int = 20_000
    top: int = 1000
    contaminated: Literal["refuse", "allow"] = "refuse"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no file could be made of."""
        if len(self.cuts) not in (0, 2, 3):
            raise ConfigError(f"cuts is {self.cuts}, expected columns of r, g and maybe radius")
        if self.top < 1 or self.voted < 1:
            raise ConfigError(f"top is {self.top}, voted is {self.voted}, expected at least 1")


def main(settings: Settings) -> None:
    """Fit, measure on the test split, rank the unlabelled galaxies."""
    from ssl_photoz.catalog.lowz_cuts import select_by_columns
    from ssl_photoz.dwarfs import candidates, scores, truth
    from ssl_photoz.dwarfs.fitting import fit_dwarf_search
    from ssl_photoz.dwarfs.search import candidate_rows, score_together
    from ssl_photoz.dwarfs.strata import read_strata
    from ssl_photoz.dwarfs.verdicts import read_verdicts
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz.labels import label_facts, refuse_contaminated
    from ssl_photoz.similarity.catalogue import Catalogue
    from ssl_photoz.similarity.index import Index

    embeddings, index = Embeddings.open(settings.embeddings), Index.load(settings.index)
    index.check_belongs(embeddings)
    refuse_contaminated(embeddings, allow=settings.contaminated == "allow")
    parents = {"embeddings": embeddings.sha256, "index": artefact.sha256_of(settings.index)}
    if settings.verdicts is not None:
        parents["verdicts"] = artefact.sha256_of(settings.verdicts)
    same = ("out", "embeddings", "index", "verdicts", "contaminated")
    if artefact.already_made(settings.out, "dwarfs", config=settings, parents=parents, ignore=same):
        print(f"{settings.out} is already made")
        return
    catalogue = Catalogue.read(embeddings)
    said = read_verdicts(settings.verdicts) if settings.verdicts else {}
    limits = {name: getattr(settings, name) for name in ("stellar_mass_max", "abs_mag_min")}
    asked = truth.read_truth(
        embeddings, z_max=settings.z_max, also=settings.also, flag=settings.flag, **limits
    )
    known, learnt = truth.learn_verdicts(asked, catalogue, said)
    fitting = {name: getattr(settings, name) for name in ("methods", "ks", "max_train", "seed")}
    search = fit_dwarf_search(embeddings, catalogue, index, known, **fitting)
    test, train = (known.rows(catalogue.split == split) for split in ("test", "train"))
    rows, among = candidate_rows(catalogue, hidden=index.hidden)
    tested, ranked = score_together(search, embeddings, index, test, rows, voted=settings.voted)
    metrics = scores.save_scores(
        *(settings.out, search, tested),
        known.restricted_to(search.names).labels[test],
        selected=select_by_columns(settings.cuts, lambda name: embeddings.column(name)[test]),
        strata=read_strata(embeddings, test, settings.magnitude, settings.population),
        base_rate=settings.base_rate,
        seed=settings.seed,
        facts={
            **label_facts(embeddings, catalogue.id[train], known.says[0]),
            **{"verdicts": learnt, "simulated": bool(embeddings.card["simulated"])},
        },
    )
    listed = candidates.write_list(
        *(settings.out, embeddings, catalogue, index, search, ranked),
        rows=rows,
        confirmed=train[known.labels[train, 0] == 1],
        words=truth.words_of(catalogue, said),
        among=among,
        **{name: getattr(settings, name) for name in ("top", "base_rate")},
    )
    about = {"ranked": among, "candidates": len(rows), "simulated": metrics["simulated"]}
    about |= {"config": settings, "parents": parents, "metrics": metrics}
    artefact.write_card(settings.out, "dwarfs", **about)
    print(scores.describe(metrics))
    print(f"{listed} of {len(rows)} {among} listed in {settings.out}/candidates.csv")
