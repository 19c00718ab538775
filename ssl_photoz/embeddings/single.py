"""One cutout of any file that people bring, through the encoder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.cutouts.single import SUFFIXES, read_single, write_single
from ssl_photoz.embeddings.embed import embed_cutout


def embed_file(
    encoder_folder: Path, path: Path, row: int, *, like: artefact.Card
) -> tuple[Floats, Array]:
    """Embed one cutout of a file, as the embeddings it will be compared with were made.

    Args:
        encoder_folder: The encoder artefact.
        path: A cutout file (HDF5), or FITS or NPY as `read_single` takes it; where these do not
            state bands or pixel scale, those of the embeddings are assumed.
        row: Which cutout of it.
        like: The card of those embeddings.

    Returns:
        The embedding, (D,), and a colour picture of the cutout, (H, W, 3) uint8.

    Raises:
        DataError: If there is no such cutout, or its pixels are bad.
        MismatchError: If the encoder was trained for other cutouts.
    """
    if path.suffix.lower() not in SUFFIXES:
        return embed_cutout(encoder_folder, path, row, like=like)
    single = read_single(path, row)
    with tempfile.TemporaryDirectory(prefix="ssl-photoz-") as folder:
        copy = Path(folder) / "cutout.h5"
        bands, pixscale_arcsec = like["bands"], float(like["pixscale_arcsec"])
        write_single(copy, single, bands=bands, pixscale_arcsec=pixscale_arcsec)
        try:
            return embed_cutout(encoder_folder, copy, 0, like=like)
        except DataError as error:
            raise DataError(str(error).replace(str(copy), str(path))) from None
