"""Join embeddings folders made alike into one, as new cutouts arrive.

ssl-photoz join embeddings=[runs/a/embeddings,runs/b/embeddings] out=runs/all/embeddings
ssl-photoz index embeddings=runs/all/embeddings out=runs/a/index    # grows the index of the first
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_photoz.core import artefact


@dataclass(frozen=True)
class Settings:
    """Join embeddings folders.

    Attributes:
        embeddings: Two or more embeddings folders made with one encoder, in the order wanted; an
            index of the first can grow to the whole.
        out: Folder to write.
    """

    embeddings: tuple[Path, ...]
    out: Path


def main(settings: Settings) -> None:
    """Join, or say that it has been done."""
    from ssl_photoz.embeddings.joining import join, repeated_ids
    from ssl_photoz.embeddings.store import Embeddings

    parts = [Embeddings.open(folder) for folder in settings.embeddings]
    parents = {f"embeddings {n}": part.sha256 for n, part in enumerate(parts)}
    paths = ("embeddings", "out")
    if not artefact.begin(
        settings.out, "embeddings", config=settings, parents=parents, ignore=paths
    ):
        print(f"{settings.out} is already made")
        return
    card = join(settings.out, parts, config=settings)
    repeats = repeated_ids(Embeddings.open(settings.out))
    print(
        f"{card['rows_written']} galaxies of {len(parts)} folders in {settings.out}; "
        f"{repeats} rows repeat the id of an earlier one"
    )
