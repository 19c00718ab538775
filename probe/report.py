"""Program that writes about a run: one HTML page, or a list of its trainings."""

from __future__ import annotations

from pathlib import Path

from ssl_photoz.core.types import PathLike

RENAMED = {"yardsticks": "references"}


def report(
    run: PathLike = Path("runs/demo"),
    out: PathLike | None = None,
    *,
    title: str | None = None,
    references: PathLike | None = None,
    trainings: bool = False,
) -> Path | None:
    """Write one HTML page about a run, or list its trainings.

        ssl-photoz report runs/demo
        ssl-photoz report runs/real references=configs/references_sdss.yaml
        ssl-photoz report runs trainings=true

    Args:
        run: Folder that holds the artefacts, at any depth.
        out: The page; report.html in the folder of the run by default.
        title: Heading of the page; the folder's name by default.
        references: YAML of published figures to show beside the run's own.
        trainings: Whether to print, instead of writing a page, how far each training is, its best
            score, and what was changed since the one before.

    Returns:
        The absolute path of the page; None where trainings are listed.

    Raises:
        ArtefactError: If there is no finished artefact, or one is damaged.
        ConfigError: If the references cannot be read.
    """
    run = Path(run)
    if trainings:
        from ssl_photoz.reports.ledger import describe_trainings, find_trainings

        print(describe_trainings(run, find_trainings(run)))
        return None
    from ssl_photoz.reports.page import write_report

    page = write_report(
        run,
        run / "report.html" if out is None else Path(out),
        title=title,
        references=None if references is None else Path(references),
    )
    print(f"report: {page}")
    return page
