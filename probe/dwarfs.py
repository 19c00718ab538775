"""Rank unlabelled galaxies by the labelled nearby dwarfs among their look-alikes.

Votes come from labelled train galaxies alone, the number of voters is chosen on the validation
split, purity and completeness are measured on the labelled test galaxies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_photoz import runs


@dataclass(frozen=True)
class Settings:
    """Rank nearby-dwarf candidates.

    Attributes:
        index: Index folder.
        embeddings: The embeddings folder it was built from.
        out: Folder to write.
        z_max: Nearby means a redshift below this.
        flag: A column that must be true as well, such as is_dwarf; null: redshift alone.
        stellar_mass_max: Column stellar_mass must be below this as well, in its own unit.
        ks: Numbers of voting neighbours to try on the validation split.
        top: Candidates in candidates.csv; candidates.parquet holds all, the montage 28.
        seed: Of the bootstrap.
    """

    index: Path
    embeddings: Path
    out: Path
    z_max: float = 0.05
    flag: str | None = None
    stellar_mass_max: float | None = None
    ks: tuple[int, ...] = (5, 10, 20, 40, 80)
    top: int = 100
    seed: int = 0


def main(settings: Settings) -> None:
    """Fit, measure on the test split, rank the unlabelled galaxies."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.similarity.catalogue import Catalogue
    from ssl_photoz.similarity.dwarfs import DwarfSearch, candidate_rows, nearby_dwarfs
    from ssl_photoz.similarity.gallery import save_candidates
    from ssl_photoz.similarity.index import Index
    from ssl_photoz.similarity.montage import title_of
    from ssl_photoz.similarity.purity import draw_purity, measure_purity

    embeddings, index = Embeddings.open(settings.embeddings), Index.load(settings.index)
    index.check_belongs(embeddings)
    parents = {"embeddings": embeddings.sha256, "index": runs.sha256_of(settings.index)}
    same = ("out", "embeddings", "index")
    if runs.already_made(settings.out, "dwarfs", config=settings, parents=parents, ignore=same):
        print(f"{settings.out} is already made")
        return
    simulated = bool(embeddings.card["simulated"])
    catalogue = Catalogue.read(embeddings)
    dwarf = nearby_dwarfs(
        embeddings,
        z_max=settings.z_max,
        flag=settings.flag,
        stellar_mass_max=settings.stellar_mass_max,
    )
    search = DwarfSearch.fit(index, embeddings, dwarf, ks=settings.ks)

    test = catalogue.rows_where("test", labelled=True)
    score = search.rank(embeddings, test).score
    metrics = {
        **measure_purity(dwarf[test], score, seed=settings.seed),
        "k": search.k,
        "validation_average_precision": {str(k): ap for k, ap in search.validation.items()},
        "simulated": simulated,
    }
    runs.write_json(settings.out / "metrics.json", metrics)
    draw_purity(
        settings.out / "purity_completeness.png",
        dwarf[test],
        score,
        title=title_of(f"Galaxies at z < {settings.z_max:g}, test split", simulated=simulated),
    )

    rows, among = candidate_rows(catalogue)
    votes = search.rank(embeddings, rows)
    save_candidates(settings.out, embeddings, catalogue, rows, votes, top=settings.top, among=among)
    runs.write_card(
        settings.out,
        "dwarfs",
        config=settings,
        parents=parents,
        simulated=simulated,
        ranked=among,
        candidates=len(rows),
        metrics=metrics,
    )
    _say(metrics)
    print(f"{len(rows)} {among} ranked in {settings.out}/candidates.parquet")


def _say(metrics: dict[str, Any]) -> None:
    if metrics["average_precision"] is None:
        print("no labelled test galaxy is a nearby dwarf: purity is not known")
        return
    print(
        f"{metrics['n_dwarfs']} of {metrics['n']} labelled test galaxies are nearby dwarfs; "
        f"average precision {metrics['average_precision']:.3f} "
        f"± {metrics['average_precision_error']:.3f}, purity at 90 % completeness "
        f"{metrics['purity_at_90_completeness']:.3f} "
        f"± {metrics['purity_at_90_completeness_error']:.3f} "
        f"({metrics['enrichment_at_90_completeness']:.1f} times a random list)"
    )
