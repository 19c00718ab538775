"""Write one HTML page about the artefacts of a run.

ssl-photoz report runs/demo
ssl-photoz report runs/real yardsticks=configs/yardsticks_sdss.yaml
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Which run, and where its page goes.

    Attributes:
        run: Folder that holds the artefacts, at any depth.
        out: The page; report.html in the folder of the run by default.
        title: Heading of the page; the folder's name by default.
        yardsticks: YAML of published figures to show beside the run's own.
    """

    run: Path = Path("runs/demo")
    out: Path | None = None
    title: str | None = None
    yardsticks: Path | None = None


def main(settings: Settings) -> None:
    """Write the page and say where it is."""
    from ssl_photoz.reports.page import write_report

    out = settings.out or settings.run / "report.html"
    page = write_report(settings.run, out, title=settings.title, yardsticks=settings.yardsticks)
    print(f"report: {page}")
