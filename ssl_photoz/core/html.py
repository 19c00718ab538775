"""A page of sections: text, tables and figures inline, in the style of the report."""

from __future__ import annotations

import base64
import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ssl_photoz.core import artefact
from ssl_photoz.core.version import __version__, versions

if TYPE_CHECKING:
    from jinja2 import Template


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
        cautions: Warnings that no reader may miss.
        sections: Sections from top to bottom; empty ones are left out.
    """
    html = template("sections.html").render(
        title=title,
        cautions=cautions,
        sections=[one for one in sections if one.says or one.tables or one.pictures],
        footer=footer(),
    )
    with artefact.atomic_path(out) as scratch:
        scratch.write_text(html, encoding="utf-8")


def template(name: str, *, package: str = "ssl_photoz.core") -> Template:
    """Page to be filled in, which escapes what goes in; it may include templates of this room."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader(one, ".") for one in dict.fromkeys((package, "ssl_photoz.core"))]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def footer() -> dict[str, Any]:
    """The foot of a page: when, where and with what it was written."""
    return {
        "version": __version__,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }


def inline(png: bytes) -> str:
    """A PNG as a ``data:`` address."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
