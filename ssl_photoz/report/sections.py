"""A page of sections: text, tables and figures inline, in the style of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_photoz import runs
from ssl_photoz.report.page import footer, inline, template


class Table(NamedTuple):
    """A table: headings, rows as long as they are, and how many columns are text, not numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


class Picture(NamedTuple):
    """A PNG and what it shows."""

    png: bytes
    caption: str

    @property
    def source(self) -> str:
        """The picture as a ``data:`` address."""
        return inline(self.png)


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        heading: Above it.
        says: Paragraphs.
        tables: Tables, below them.
        pictures: Figures, below those.
    """

    heading: str
    says: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def write_sections(
    out: Path, *, title: str, cautions: Sequence[str], sections: Sequence[Section]
) -> None:
    """Write one self-contained HTML page.

    Args:
        out: The page; replaced if it is there.
        title: Its heading.
        cautions: What no reader may miss.
        sections: From top to bottom; empty ones are left out.
    """
    html = template("sections.html").render(
        title=title,
        cautions=cautions,
        sections=[one for one in sections if one.says or one.tables or one.pictures],
        footer=footer(),
    )
    with runs.atomic_path(out) as scratch:
        scratch.write_text(html, encoding="utf-8")
