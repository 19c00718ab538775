"""Programs that write about a run: one HTML page, or a list of its trainings."""

from __future__ import annotations

from pathlib import Path

from ssl_photoz.core.types import PathLike


def report(
    run: PathLike = Path("runs/demo"),
    out: PathLike | None = None,
    *,
    title: str | None = None,
    references: PathLike | None = None,
) -> Path:
    """Write one HTML page about the artefacts of a run.

        ssl-photoz report runs/demo
        ssl-photoz report runs/real references=configs/references_sdss.yaml

    Args:
        run: Folder that holds the artefacts, at any depth.
        out: The page; report.html in the folder of the run by default.
        title: Heading of the page; the folder's name by default.
        references: YAML of published figures to show beside the run's own.

    Returns:
        The absolute path of the page.

    Raises:
        ArtefactError: If there is no finished artefact, or one is damaged.
        ConfigError: If the references cannot be read.
    """
    from ssl_photoz.reports.page import write_report

    run = Path(run)
    page = write_report(
        run,
        run / "report.html" if out is None else Path(out),
        title=title,
        yardsticks=None if references is None else Path(references),
    )
    print(f"report: {page}")
    return page


RENAMED = {"yardsticks": "references"}
