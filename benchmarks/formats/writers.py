"""The same galaxies in every format, as its own users write it, without this package's help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.formats import display
from benchmarks.formats.display import write_catalogue
from benchmarks.formats.galaxies import NOISE_NMGY, PIXSCALE_ARCSEC, Galaxies
from ssl_photoz.core.types import Array

Writer = Callable[[Path, Galaxies], Path]
PER_ROW_GROUP = 200


def challenge(folder: Path, galaxies: Galaxies) -> Path:
    """Write HDF5 as the redshift challenge does."""
    return _hdf5(
        folder / "challenge.h5",
        images=galaxies.images,
        TARGETID=galaxies.id,
        RA=galaxies.ra,
        DEC=galaxies.dec,
        Z=galaxies.z,
        EBV=galaxies.ebv,
        PSFSIZE=galaxies.psfsize,
        PSFDEPTH=galaxies.psfdepth,
        FLUX_R=galaxies.flux_r,
    )


def ssl_legacysurvey(folder: Path, galaxies: Galaxies) -> Path:
    """Write HDF5 as ssl-legacysurvey does."""
    count = len(galaxies.id)
    return _hdf5(
        folder / "images_npix_000000000.h5",
        images=galaxies.images,
        ra=galaxies.ra,
        dec=galaxies.dec,
        ebv=galaxies.ebv,
        psfsize=galaxies.psfsize,
        psfdepth=galaxies.psfdepth,
        flux_r=galaxies.flux_r,
        z_spec=np.where(np.isfinite(galaxies.z), galaxies.z, -99).astype("f4"),
        release=np.full(count, 9010, "i2"),
        brickid=np.arange(count, dtype="i4"),
        objid=np.arange(count, dtype="i4"),
    )


def mmu_hdf5(folder: Path, galaxies: Galaxies) -> Path:
    """Write the Multimodal Universe's first layout: two cells, compressed, chunks left to h5py."""
    root, count = folder / "mmu_hdf5", len(galaxies.id)
    ivar = np.broadcast_to(_noise(galaxies)[..., None, None] ** -2, galaxies.images.shape)
    for cell, rows in ((17, slice(0, count // 2)), (203, slice(count // 2, count))):
        columns = {
            "image_array": galaxies.images[rows],
            "image_ivar": ivar[rows].astype("f4"),
            "image_mask": np.ones((len(galaxies.id[rows]), *galaxies.images.shape[2:]), bool),
            "image_band": np.array(
                [[f"des-{b}".encode() for b in galaxies.bands]] * len(ivar[rows])
            ),
            "image_psf_fwhm": galaxies.psfsize[rows],
            "image_scale": np.full(galaxies.psfsize[rows].shape, PIXSCALE_ARCSEC, "f4"),
            "object_id": np.array([str(one).encode() for one in galaxies.id[rows]]),
            **{
                name: getattr(galaxies, name.lower())[rows]
                for name in ("ra", "RA", "dec", "DEC", "EBV")
            },
            "FLUX_R": galaxies.flux_r[rows],
            "Z_SPEC": np.where(np.isfinite(galaxies.z), galaxies.z, -99)[rows].astype("f4"),
            "TYPE": np.array([b"REX"] * len(ivar[rows])),
            "healpix": np.full(len(ivar[rows]), cell),
        }
        (root / f"healpix={cell}").mkdir(parents=True, exist_ok=True)
        with h5py.File(root / f"healpix={cell}" / "001-of-001.hdf5", "w") as file:
            for name, values in columns.items():
                file.create_dataset(
                    name,
                    data=values,
                    compression="gzip",
                    chunks=True,
                    maxshape=(None, *values.shape[1:]),
                )
    return root


def hats(folder: Path, galaxies: Galaxies) -> Path:
    """Write the Multimodal Universe's second layout: HATS of two tiles, and a margin."""
    root, count = folder / "mmu_hats", len(galaxies.id)
    table = _hats_table(galaxies)
    for which, catalogue in enumerate(("survey", "survey_10arcs")):
        for tile, rows in ((5, slice(0, count // 2)), (11, slice(count // 2, count))):
            path = root / catalogue / f"dataset/Norder=1/Dir=0/Npix={tile}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            some = table.slice(rows.start, 1 if which else rows.stop - rows.start)
            pq.write_table(some, path, row_group_size=PER_ROW_GROUP, compression="zstd")
        (root / catalogue / "hats.properties").write_text(
            f"obs_collection={catalogue}\nhats_nrows={count}\n"
        )
    pq.write_table(table.slice(0, 1), root / "survey/dataset/data_thumbnail.parquet")
    (root / "collection.properties").write_text(
        "obs_collection=survey\nhats_primary_table_url=survey\nall_margins=survey_10arcs\n"
    )
    return root


def parquet(folder: Path, galaxies: Galaxies) -> Path:
    """Write one Parquet file with the columns of the above and pixels in lists of fixed size."""
    table = _hats_table(galaxies)
    struct = table.column("image").combine_chunks()
    fixed = pa.array(galaxies.images.ravel())
    for length in reversed(galaxies.images.shape[1:]):
        fixed = pa.FixedSizeListArray.from_arrays(fixed, length)
    names = ["band", "flux", "psf_fwhm", "scale"]
    parts = [fixed if name == "flux" else struct.field(name) for name in names]
    table = table.set_column(0, "image", pa.StructArray.from_arrays(parts, names))
    pq.write_table(table, folder / "cutouts.parquet", row_group_size=PER_ROW_GROUP)
    return folder / "cutouts.parquet"


def fits_folder(folder: Path, galaxies: Galaxies) -> Path:
    """Write a FITS file per galaxy as the Legacy Surveys' cutout service does, and a catalogue."""
    from astropy.io import fits

    root, side = folder / "fits", galaxies.images.shape[-1]
    root.mkdir(parents=True)
    for row, number in enumerate(galaxies.id):
        header = fits.Header()
        header["SURVEY"], header["VERSION"], header["BANDS"] = (
            "LegacySurvey",
            "DR9",
            "".join(galaxies.bands),
        )
        for index, band in enumerate(galaxies.bands):
            header[f"BAND{index}"] = band
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        header["CRVAL1"], header["CRVAL2"] = galaxies.ra[row], galaxies.dec[row]
        header["CRPIX1"] = header["CRPIX2"] = side / 2 + 0.5
        header["CD1_1"], header["CD1_2"] = -PIXSCALE_ARCSEC / 3600, 0.0
        header["CD2_1"], header["CD2_2"] = 0.0, PIXSCALE_ARCSEC / 3600
        fits.PrimaryHDU(galaxies.images[row], header).writeto(root / f"cutout_{number}.fits")
    write_catalogue(root / "catalogue.csv", galaxies, [str(one) for one in galaxies.id])
    return root


def zarr(folder: Path, galaxies: Galaxies) -> Path:
    """Write a Zarr group of the challenge's layout, one cutout a chunk."""
    import zarr

    group = zarr.create_group(folder / "cutouts.zarr")
    group.create_array("images", data=galaxies.images, chunks=(1, *galaxies.images.shape[1:]))
    names = {"TARGETID": "id", "RA": "ra", "DEC": "dec", "Z": "z", "EBV": "ebv", "FLUX_R": "flux_r"}
    for name, field in {**names, "PSFSIZE": "psfsize", "PSFDEPTH": "psfdepth"}.items():
        group.create_array(name, data=getattr(galaxies, field))
    group.attrs.update({"bands": ",".join(galaxies.bands), "pixscale_arcsec": PIXSCALE_ARCSEC})
    return folder / "cutouts.zarr"


def pasquet(folder: Path, galaxies: Galaxies) -> Path:
    """Write an npz as Pasquet's: channels last, a record array of labels."""
    columns = {"z": galaxies.z, "EBV": galaxies.ebv, "ra": galaxies.ra, "dec": galaxies.dec}
    columns |= {"specObjID": galaxies.id, "flux_r": galaxies.flux_r}
    labels = np.rec.fromarrays(list(columns.values()), names=list(columns))
    cube = np.ascontiguousarray(galaxies.images.transpose(0, 2, 3, 1))
    np.savez(folder / "sdss.npz", cube=cube, labels=labels)
    return folder / "sdss.npz"


def sdss_cubes(folder: Path, galaxies: Galaxies) -> Path:
    """Write HDF5 cubes as AstroSpect does: channels last, redshifts, nothing else."""
    return _hdf5(
        folder / "cubes.h5",
        images=galaxies.images.transpose(0, 2, 3, 1),
        specz_redshift=galaxies.z,
        specz_redshift_err=np.full(len(galaxies.z), 1e-4, "f4"),
    )


def astroclip(folder: Path, galaxies: Galaxies) -> Path:
    """Write HDF5 groups as AstroCLIP does."""
    with h5py.File(folder / "astroclip.h5", "w") as file:
        for number, rows in enumerate(np.array_split(np.arange(len(galaxies.id)), 10)):
            group = file.create_group(str(number))
            group["images"] = galaxies.images[rows].transpose(0, 2, 3, 1)
            group["redshifts"] = galaxies.z[rows]
            group["targetids"] = galaxies.id[rows]
    return folder / "astroclip.h5"


WRITERS: dict[str, Writer] = {
    "challenge": challenge,
    "ssl_legacysurvey": ssl_legacysurvey,
    "pasquet": pasquet,
    "sdss_cubes": sdss_cubes,
    "astroclip": astroclip,
    "sdss_jpeg": display.sdss_jpeg,
    "mmu_hdf5": mmu_hdf5,
    "parquet": hats,
    "parquet file": parquet,
    "fits": fits_folder,
    "zarr": zarr,
    "pictures": display.picture_folder,
    "webdataset": display.webdataset,
}

BANDS = {"pasquet": "ugriz", "sdss_cubes": "ugriz", "mmu_hdf5": "griz"}  # the others: grz


def _hdf5(path: Path, **columns: Array) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def _noise(galaxies: Galaxies) -> Array:
    return np.tile([NOISE_NMGY[band] for band in galaxies.bands], (len(galaxies.id), 1))


def _hats_table(galaxies: Galaxies) -> pa.Table:
    count, bands = galaxies.psfsize.shape
    image = pa.StructArray.from_arrays(
        [
            pa.array([[f"des-{band}" for band in galaxies.bands]] * count),
            _lists(galaxies.images),
            _lists(galaxies.psfsize),
            _lists(np.full((count, bands), PIXSCALE_ARCSEC, "f4")),
        ],
        ["band", "flux", "psf_fwhm", "scale"],
    )
    depths = {f"psfdepth_{band}": galaxies.psfdepth[:, i] for i, band in enumerate(galaxies.bands)}
    return pa.table(
        {
            "image": image,
            "ebv": galaxies.ebv,
            "flux_r": galaxies.flux_r,
            **depths,
            "z_spec": np.where(np.isfinite(galaxies.z), galaxies.z, -99).astype("f4"),
            "ra": galaxies.ra,
            "dec": galaxies.dec,
            "object_id": [str(one) for one in galaxies.id],
            "_healpix_29": np.arange(count),
        }
    )


def _lists(values: Array) -> pa.Array:
    made = pa.array(values.ravel())
    for length in reversed(values.shape[1:]):
        made = pa.ListArray.from_arrays(np.arange(0, len(made) + 1, length, dtype="i4"), made)
    return made
