"""One cutout of any file that people bring, through the encoder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Floats, PathLike
from ssl_photoz.cutouts.single import is_single, read_single, write_single
from ssl_photoz.embeddings.embed import embed_cutout
from ssl_photoz.embeddings.store import EmbeddingsCard
from ssl_photoz.encoders.encoder import Encoder


def embed_file(
    encoder: PathLike | Encoder, path: PathLike, row: int, *, like: EmbeddingsCard
) -> tuple[Floats, Array]:
    """Embed one cutout of a file, as the embeddings it will be compared with were made.

    Args:
        encoder: The encoder, or its folder.
        path: A cutout file (HDF5), or FITS or NPY as `read_single` takes it; where these do not
            state bands or pixel scale, those of the embeddings are assumed.
        row: Number of the cutout.
        like: Card of those embeddings.

    Returns:
        The embedding, (D,), and a colour picture of the cutout, (H, W, 3) uint8.

    Raises:
        DataError: If there is no such cutout, or its pixels are bad.
        MismatchError: If the encoder was trained for other cutouts.
    """
    path = Path(path)
    if not is_single(path):
        return embed_cutout(encoder, path, row, like=like)
    single = read_single(path, row)
    with tempfile.TemporaryDirectory(prefix="ssl-photoz-") as folder:
        copy = Path(folder) / "cutout.h5"
        write_single(copy, single, bands=like.bands, pixscale_arcsec=like.pixscale_arcsec)
        try:
            return embed_cutout(encoder, copy, 0, like=like)
        except DataError as error:
            raise DataError(str(error).replace(str(copy), str(path))) from None
