"""The program that joins embeddings folders as new cutouts arrive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import artefact
from ssl_photoz.core.types import PathLike

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings


def join(embeddings: tuple[PathLike | Embeddings, ...], out: PathLike) -> Embeddings:
    """Join embeddings folders that were made alike into one.

        ssl-photoz join embeddings=[runs/a/embeddings,runs/b/embeddings] out=runs/all/embeddings
        ssl-photoz index embeddings=runs/all/embeddings out=runs/a/index

    The second command lets the index of the first folder grow to the whole.

    Args:
        embeddings: Two or more embeddings folders made with one encoder, in the order wanted.
        out: Folder to write.

    Returns:
        The joined embeddings.

    Raises:
        ConfigError: If there are fewer than two folders, or one is given twice.
        MismatchError: If they were not made alike.
    """
    from ssl_photoz.embeddings.joining import join_embeddings, repeated_ids
    from ssl_photoz.embeddings.store import Embeddings

    out = Path(out)
    parts = [Embeddings.open(one) for one in embeddings]
    config = {"embeddings": [part.folder for part in parts]}
    parents = {f"embeddings {n}": part.sha256 for n, part in enumerate(parts)}
    made: dict[str, Any] = {"config": config, "parents": parents}
    if not artefact.begin(out, "embeddings", ignore=("embeddings",), **made):
        print(f"{out} is already made")
        return Embeddings.open(out)
    card = join_embeddings(out, parts, config=config)
    joined = Embeddings.open(out)
    print(
        f"{card.rows_written} galaxies of {len(parts)} folders in {out}; "
        f"{repeated_ids(joined)} rows repeat the id of an earlier one"
    )
    return joined
