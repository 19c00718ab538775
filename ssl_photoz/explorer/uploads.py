"""From the bytes of an uploaded file to a vector in embedding space."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.explorer.run import Run
from ssl_photoz.explorer.unpack import suffix_of

SECONDS = 30.0  # that taking a file apart may last


class BusyError(DataError):
    """Another upload is being embedded."""


class Uploads:
    """Embeds uploaded cutouts, one at a time.

    Attributes:
        accepted: Whether the run has the encoder to do so.
    """

    def __init__(self, run: Run) -> None:
        self.accepted = run.encoder is not None
        self._run = run
        self._one = threading.Lock()

    def embed(self, content: bytes, *, row: int) -> tuple[Floats, Array]:
        """Embed one cutout as the run's embeddings were made.

        Args:
            content: A file: HDF5, NPY or FITS.
            row: Row of the cutout, where it holds several.

        Returns:
            The embedding, (D,), and a colour picture, (H, W, 3) uint8.

        Raises:
            BusyError: If another upload is being embedded.
            DataError: If the run has no encoder, or the file cannot be used; says why.
            MismatchError: If the encoder was trained for other cutouts.
        """
        if self._run.encoder is None:
            raise DataError("this run has no encoder to embed a cutout with; run pretrain into it")
        suffix = suffix_of(content)
        if not self._one.acquire(blocking=False):
            raise BusyError("another cutout is being embedded; try again in a few seconds")
        try:
            return self._embed(self._run.encoder, content, suffix, row)
        finally:
            self._one.release()

    def _embed(self, encoder: Path, content: bytes, suffix: str, row: int) -> tuple[Floats, Array]:
        from ssl_photoz.embeddings.embed import embed_cutout

        card = self._run.embeddings.card
        stated = [",".join(card.bands), str(card.pixscale_arcsec)]
        with tempfile.TemporaryDirectory(prefix="ssl-photoz-upload-") as folder:
            source, clean = Path(folder, f"upload{suffix}"), Path(folder, "cutout.h5")
            source.write_bytes(content)
            _unpack([str(source), str(clean), str(row), *stated])
            try:
                return embed_cutout(encoder, clean, 0, like=card)
            except DataError as error:
                said = str(error).replace(f"row 0 of {clean}", "the cutout")
                raise DataError(said.replace(str(clean), "the file")) from None


def jpeg_of(picture: Array) -> bytes:
    """Encode a colour picture, (H, W, 3) uint8, as a JPEG."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _unpack(arguments: list[str]) -> None:
    """Run `ssl_photoz.explorer.unpack` in a process of its own."""
    module = [sys.executable, "-P", "-m", "ssl_photoz.explorer.unpack"]
    try:
        done = subprocess.run(
            [*module, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"the file was not taken apart within {SECONDS:g} s; refused") from None
    if done.returncode == 2:
        raise DataError(done.stderr.decode(errors="replace").strip())
    if done.returncode:
        raise DataError("the file broke the process that takes it apart; it is damaged, or hostile")
