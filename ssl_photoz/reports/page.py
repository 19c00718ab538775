"""Write the page, with the curves of a training: everything inline, no network."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ssl_photoz.core import find
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.find import Artefact
from ssl_photoz.core.html import footer, inline, template
from ssl_photoz.core.workplace import require_place
from ssl_photoz.reports import scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Title of a panel, its figures in the history with their labels.
PANELS = (
    ("loss", {"loss": "total", "contrastive_loss": "contrast", "pretext_loss": "pretext"}),
    ("contrast accuracy", {"contrast_accuracy": "positive ranked first"}),
    ("spread of the embedding (0: collapsed)", {"embedding_std": "of unit vectors"}),
    ("directions that features use", {"effective_rank": "effective rank"}),
    ("online kNN redshift, validation", {"knn_sigma_nmad": r"$\sigma_\mathrm{NMAD}$"}),
)


def draw_history(history: Sequence[Mapping[str, float]]) -> bytes:
    """Draw losses, collapse and the online score against epochs.

    Panels of which the history holds nothing are left out.

    Args:
        history: One mapping per logged epoch, with ``epoch`` and any figure of `PANELS`.

    Returns:
        A PNG; empty if there is nothing to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        (title, present)
        for title, keys in PANELS
        if (present := {k: label for k, label in keys.items() if any(k in row for row in history)})
    ]
    if not panels:
        return b""
    figure = Figure(figsize=(4.2 * min(2, len(panels)), 2.9 * -(-len(panels) // 2)), dpi=110)
    FigureCanvasAgg(figure)
    for place, (title, keys) in enumerate(panels, 1):
        axes = figure.add_subplot(-(-len(panels) // 2), min(2, len(panels)), place)
        _draw_panel(axes, history, title, keys)
    figure.tight_layout()
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _draw_panel(
    axes: Axes, history: Sequence[Mapping[str, float]], title: str, keys: Mapping[str, str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    for key, label in keys.items():
        rows = [row for row in history if key in row]
        epochs = [row.get("epoch", number) for number, row in enumerate(rows, 1)]
        axes.plot(epochs, [row[key] for row in rows], ".-", lw=1, label=label)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("epoch", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, frameon=False)
    if "embedding_std" in keys:
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])


CAPTIONS = {
    "contact_sheet": "Cutouts spread evenly over the input file: row number and redshift",
    "zphot_zspec": "Photometric against spectroscopic redshift, test split",
    "residuals": "Bias and scatter in bins of redshift and magnitude, test split",
    "calibration": "PIT, and how often what was held likely came true, test split",
    "quality": "What remains when galaxies with uncertain redshifts are left out, test split",
    "examples": "Redshift densities of some test galaxies, and where they truly lie",
    "lookalikes": "Look-alikes: the query first in each row, its nearest neighbours after it",
    "purity_completeness": "Purity and completeness of the candidate list, test split",
    "candidates": "The highest-ranked candidates among galaxies without a redshift",
    "map": "The embedding as a map; how far to trust it stands above it",
    "atlas": "The map, drawn with the galaxies themselves",
}
METRICS_SAY = (
    "Test split, held out by sky position, unless a row says otherwise. "
    "Δz = (z_phot \N{MINUS SIGN} z_spec)/(1 + z_spec); errors by bootstrap."
)
DIFFERENCES_SAY = (
    "Differences on the same test galaxies, negative in favour of the first named, with their "
    "paired bootstrap errors; “better” where the difference exceeds two errors."
)
NEARBY_SAY = "Nearby galaxies of the test split selected by z_phot below the limit."
COVERAGE_SAYS = (
    "Test galaxies inside and outside of the labels that a probe was fitted to: outside is where "
    "label_coverage is below 0.05, as one in twenty of the galaxies like the labelled ones is."
)
DENSITIES_SAY = (
    "Redshift densities of the test split. KS: distance of their PIT from evenness, beside that of "
    "as many perfect densities; CRPS and CDE loss: the lower, the better."
)


class Table(NamedTuple):
    """A table to be shown: what it says, its columns and its rows."""

    caption: str
    headings: list[str]
    rows: list[scores.Row]


class Figure(NamedTuple):
    """A figure to be shown: a ``data:`` address and what it shows."""

    source: str
    caption: str


def write_report(
    run: Path, out: Path, *, title: str | None = None, references: Path | None = None
) -> Path:
    """Write one self-contained HTML page about the artefacts below a folder.

    Args:
        run: Folder of the run.
        out: The page; replaced if it is there.
        title: Heading; the folder's name by default.
        references: YAML of published figures to show beside the run's own, see
            `scores.read_references`.

    Returns:
        The absolute path of the page.

    Raises:
        ArtefactError: If there is no finished artefact, or one is damaged.
        ConfigError: If the references cannot be read.
    """
    require_place(out, folder=False)
    artefacts = find.find_artefacts(run)
    html = template("page.html", package="ssl_photoz.reports").render(
        title=title or run.resolve().name,
        cautions=find.cautions(artefacts),
        artefacts=artefacts,
        facts={a.name: find.facts_of(a) for a in artefacts},
        settings={a.name: find.settings_of(a) for a in artefacts},
        seconds=find.read_seconds(run),
        tables=_tables(artefacts, references),
        sheets=[_figure(path) for path in sorted(run.rglob("contact_sheet.png"))],
        figures={a.name: _figures(a) for a in artefacts},
        footer=footer(),
    )
    with atomic_path(out) as scratch:
        scratch.write_text(html, encoding="utf-8")
    return out.resolve()


def _tables(artefacts: list[Artefact], references: Path | None) -> list[Table]:
    quoted = scores.read_references(references) if references else []
    tables = [
        (METRICS_SAY, scores.METRICS, scores.read_metrics(artefacts) + quoted),
        (DIFFERENCES_SAY, scores.DIFFERENCES, scores.read_differences(artefacts)),
        (NEARBY_SAY, scores.NEARBY, scores.read_nearby(artefacts)),
        (COVERAGE_SAYS, scores.COVERAGE, scores.read_coverage(artefacts)),
        (DENSITIES_SAY, scores.DENSITIES, scores.read_densities(artefacts)),
    ]
    return [
        Table(caption, [column.heading for column in columns], rows)
        for caption, columns, rows in tables
        if rows
    ]


def _figures(artefact: Artefact) -> list[Figure]:
    """Curves of an encoder, and every PNG in an artefact's folder."""
    figures = []
    if artefact.kind == "encoder" and (png := draw_history(find.read_history(artefact.folder))):
        figures.append(Figure(inline(png), "Course of the pretraining, a point per epoch"))
    order = {stem: place for place, stem in enumerate(CAPTIONS)}
    paths = artefact.folder.glob("[!.]*.png")
    ordered = sorted(paths, key=lambda path: (order.get(path.stem, len(order)), path.name))
    return figures + [_figure(path) for path in ordered]


def _figure(path: Path) -> Figure:
    caption = CAPTIONS.get(path.stem, path.stem.replace("_", " "))
    return Figure(inline(path.read_bytes()), caption)
