"""Program that ranks nearby-dwarf candidates, and proposes which to look at next.

Methods are fitted to labelled train galaxies and to verdicts, chosen and calibrated on the
validation split, and measured once on the labelled test galaxies, which lie elsewhere on the sky.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.nearby.settings import ClassifierConfig, DwarfConfig, EvaluationConfig

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.nearby.candidates import DwarfCandidates
    from ssl_photoz.similarity.index import Index


def dwarfs(
    index: PathLike | Index,
    embeddings: PathLike | Embeddings,
    out: PathLike,
    *,
    verdicts: PathLike | None = None,
    propose: int = 0,
    candidates: PathLike | None = None,
    dwarf: DwarfConfig = DwarfConfig(),
    classifier: ClassifierConfig = ClassifierConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    top: int = 1000,
    contaminated: Literal["refuse", "allow"] = "refuse",
) -> DwarfCandidates | Path:
    """Rank nearby-dwarf candidates, or propose which of them to look at next.

        ssl-photoz dwarfs index=I embeddings=E out=runs/demo/dwarfs z_max=0.05
        ssl-photoz dwarfs index=I embeddings=E candidates=runs/demo/dwarfs propose=50 out=looks.csv
        ssl-photoz dwarfs index=I embeddings=E out=runs/demo/again z_max=0.05 verdicts=looks.csv

    A proposal is a CSV with a line per galaxy and an empty column ``verdict``, to be filled in with
    dwarf, not_dwarf or junk. Only galaxies of the train split are proposed, because only those may
    be learnt from.

    Args:
        index: Index folder.
        embeddings: Embeddings folder that it was built from.
        out: Folder to write; with candidates, the proposal, .csv.
        verdicts: CSV of columns id and verdict (dwarf, not_dwarf, junk), to learn from; these
            galaxies are not proposed again.
        propose: Galaxies to propose; beside a new list, in next_looks.csv in its folder.
        candidates: Folder that dwarfs has made: nothing is fitted, a proposal from it is written.
        dwarf: What is looked for.
        classifier: How galaxies are scored.
        evaluation: How the list is measured on the test split.
        top: Candidates in the list; probabilities.parquet holds every galaxy.
        contaminated: Whether to score, marked as CONTAMINATED, an encoder that has learnt from the
            redshifts it is scored on.

    Returns:
        The candidates; where there were some already, the proposal's path.

    Raises:
        ConfigError: If a value cannot be meant.
        DataError: If no train galaxy is wanted, or there is nothing to rank or to propose.
        MismatchError: If index, embeddings and candidates do not belong together, or the folder
            holds a list made with other settings.
        ContaminatedError: If the encoder has learnt from the redshifts it is scored on.
    """
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.nearby.candidates import DwarfCandidates, propose_table
    from ssl_photoz.nearby.verdicts import read_verdicts
    from ssl_photoz.similarity.index import Index

    if top < 1 or propose < 0 or (candidates is not None and propose < 1):
        raise ConfigError(f"top is {top}, propose is {propose}, expected at least 1")
    store, searched, out = Embeddings.open(embeddings), Index.load(index), Path(out)
    searched.check_belongs(store)
    said = None if verdicts is None else Path(verdicts)
    if candidates is not None:
        made = DwarfCandidates.open(candidates)
        known = read_verdicts(said) if said else []
        return propose_table(made, searched, store, out, n=propose, verdicts=known)
    made = _search(
        *(searched, store, out, said, dwarf, classifier, evaluation),
        top=top,
        allow=contaminated == "allow",
    )
    looks = out / "next_looks.csv"
    if propose and looks.exists():
        print(f"{looks} is there already, and is not written again: verdicts may stand in it")
    elif propose:
        known = read_verdicts(said) if said else []
        propose_table(made, searched, store, looks, n=propose, verdicts=known)
    return made


def _search(
    index: Index,
    embeddings: Embeddings,
    out: Path,
    verdicts: Path | None,
    dwarf: DwarfConfig,
    classifier: ClassifierConfig,
    evaluation: EvaluationConfig,
    *,
    top: int,
    allow: bool,
) -> DwarfCandidates:
    """Fit, measure on the test split, rank the unlabelled galaxies."""
    from ssl_photoz.catalog.lowz_cuts import select_by_columns
    from ssl_photoz.nearby import candidates, scores, truth
    from ssl_photoz.nearby.fitting import fit_dwarf_search
    from ssl_photoz.nearby.purity import read_strata
    from ssl_photoz.nearby.search import candidate_rows, score_together
    from ssl_photoz.nearby.search_files import KeptSearch, save_search
    from ssl_photoz.nearby.verdicts import read_verdicts
    from ssl_photoz.photoz.labels import label_facts, refuse_contaminated
    from ssl_photoz.similarity.catalogue import Catalogue

    refuse_contaminated(embeddings, allow=allow)
    parents = {"embeddings": embeddings.sha256, "index": index.sha256}
    if verdicts is not None:
        parents["verdicts"] = artefact.sha256_of(verdicts)
    config = {**asdict(dwarf), **asdict(classifier), **asdict(evaluation), "top": top}
    same = ("out", "embeddings", "index", "verdicts", "contaminated")  # on cards of version 0.1
    if artefact.already_made(out, "dwarfs", config=config, parents=parents, ignore=same):
        print(f"{out} is already made")
        return candidates.DwarfCandidates.open(out)
    catalogue = Catalogue.read(embeddings)
    said = read_verdicts(verdicts) if verdicts else []
    asked = truth.read_truth(embeddings, dwarf)
    known, learnt = truth.learn_verdicts(asked, catalogue, said)
    test, train = (known.rows(catalogue.split == split) for split in ("test", "train"))
    selected = select_by_columns(evaluation.cuts, lambda name: embeddings.column(name)[test])
    strata = read_strata(embeddings, test, evaluation.magnitude, evaluation.population)
    search = fit_dwarf_search(embeddings, catalogue, index, known, classifier)
    rows, among = candidate_rows(catalogue, hidden=index.hidden)
    tested, ranked = score_together(search, embeddings, index, test, rows, voted=classifier.voted)
    metrics = scores.save_scores(
        *(out, search, tested),
        known.restricted_to(search.names).labels[test],
        selected=selected,
        strata=strata,
        base_rate=evaluation.base_rate,
        seed=classifier.seed,
        facts={
            **label_facts(embeddings, catalogue.id[train], known.says[0]),
            **{"verdicts": learnt, "simulated": embeddings.card.simulated},
        },
    )
    listed = candidates.write_list(
        *(out, embeddings, catalogue, index, search, ranked),
        rows=rows,
        confirmed=train[known.labels[train, 0] == 1],
        words=truth.words_of(catalogue, said).words,
        among=among,
        top=top,
        base_rate=evaluation.base_rate,
    )
    kept = KeptSearch(search, index.reduction, embeddings.card.encoder, evaluation.base_rate)
    save_search(out, kept)
    about = {"ranked": among, "candidates": len(rows), "simulated": metrics["simulated"]}
    about |= {"config": config, "parents": parents, "metrics": metrics}
    artefact.write_card(out, "dwarfs", **about)
    print(scores.describe(metrics))
    print(f"{listed} of {len(rows)} {among} listed in {out}/candidates.csv")
    return candidates.DwarfCandidates.open(out)
