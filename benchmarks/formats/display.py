"""The same galaxies as 8-bit pictures, and the catalogue that lies beside files without one."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import h5py
import numpy as np

from benchmarks.formats.galaxies import Galaxies
from ssl_photoz.core.types import Array

PER_TAR = 1000


def picture_folder(folder: Path, galaxies: Galaxies) -> Path:
    """Write a PNG per galaxy, and a catalogue."""
    root = folder / "pictures"
    root.mkdir(parents=True)
    for number, picture in zip(galaxies.id, galaxies.pictures, strict=True):
        (root / f"{number}.png").write_bytes(_encoded(picture, "PNG"))
    write_catalogue(root / "catalogue.csv", galaxies, [str(one) for one in galaxies.id])
    return root


def webdataset(folder: Path, galaxies: Galaxies) -> Path:
    """Write tars of PNG and JSON."""
    root = folder / "tars"
    root.mkdir(parents=True)
    pictures = galaxies.pictures
    for start in range(0, len(pictures), PER_TAR):
        with tarfile.open(root / f"shard-{start // PER_TAR:05d}.tar", "w") as archive:
            for row in range(start, min(start + PER_TAR, len(pictures))):
                said = {
                    name: getattr(galaxies, name)[row].item() for name in ("id", "ra", "dec", "ebv")
                }
                if np.isfinite(galaxies.z[row]):
                    said["redshift"] = galaxies.z[row].item()
                said["flux_r"] = galaxies.flux_r[row].item()
                for suffix, content in (
                    ("png", _encoded(pictures[row], "PNG")),
                    ("json", json.dumps(said).encode()),
                ):
                    member = tarfile.TarInfo(f"{row:06d}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return root


def sdss_jpeg(folder: Path, galaxies: Galaxies) -> Path:
    """Write JPEG files end to end in HDF5."""
    files = [_encoded(picture, "JPEG") for picture in galaxies.pictures]
    columns = dict(
        jpeg=np.frombuffer(b"".join(files), np.uint8),
        offset=np.cumsum([0, *map(len, files)]),
        objid=galaxies.id,
        RA=galaxies.ra,
        DEC=galaxies.dec,
        Z=galaxies.z,
        EBV=galaxies.ebv,
        FLUX_R=galaxies.flux_r,
    )
    with h5py.File(folder / "pictures.h5", "w") as file:
        for name, values in columns.items():
            file[name] = values
    return folder / "pictures.h5"


def write_catalogue(path: Path, galaxies: Galaxies, names: list[str]) -> None:
    """Write id, position, redshift and the like as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["TARGETID", "ra", "dec", "z", "ebv", "flux_r"])
        for row in reversed(range(len(names))):  # in another order than the files
            z = galaxies.z[row]
            cells = [names[row], galaxies.ra[row], galaxies.dec[row], z if np.isfinite(z) else ""]
            writer.writerow([*cells, galaxies.ebv[row], galaxies.flux_r[row]])


def _encoded(picture: Array, kind: str) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, kind)
    return content.getvalue()
