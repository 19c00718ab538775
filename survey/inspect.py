"""What a cutout file holds, how it was observed, what is wrong with it, and a mask of that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.qa.settings import REJECTING, CheckConfig, require_checks

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.qa.summary import CatalogueFile, Summary

MAX_SHEET = 2500


def inspect(
    data: PathLike | Cutouts,
    out: PathLike = Path("inspect"),
    *,
    mask: PathLike | None = None,
    page: bool = True,
    sheet: int = 36,
    sample: int = 2000,
    reject: tuple[str, ...] = REJECTING,
    checks: CheckConfig = CheckConfig(),
    bands: tuple[str, ...] | None = None,
    pixscale_arcsec: float | None = None,
    read_as: str | None = None,
) -> Summary | CatalogueFile | Path:
    """Look at a cutout file before training on it: contents, quality, and a mask of bad cutouts.

        ssl-photoz inspect data=cutouts.h5
        ssl-photoz inspect data=cutouts.h5 mask=runs/mask

    Prints what the file holds; writes ``qa.html``, ``qa.json`` and ``contact_sheet.png``. With
    ``mask=``, every cutout is checked and a mask is written too: it lists every cutout with what
    each check says of it. Nothing is deleted; `pretrain`, `align`, `supervise`, `embed` and
    `convert` take the mask as ``mask=runs/mask``. docs/qa.md explains the checks.

    Args:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: Folder for qa.html, qa.json and contact_sheet.png.
        mask: Folder for a mask; null: none is written.
        page: Whether to write the page; false, with mask=: the mask alone.
        sheet: Cutouts on the contact sheet, spread evenly over the file.
        sample: Cutouts, spread evenly over the file, that noise, photometry and the page's checks
            of pixels are made on.
        reject: Checks for which the mask rejects what they flag; the others only flag.
        checks: Thresholds of the checks.
        bands: Band names, for a file that does not state them.
        pixscale_arcsec: Pixel scale, for a file that does not state it.
        read_as: Name of the format, also as ``--as NAME``; recognised by default.

    Returns:
        What the file holds: cutouts, or a catalogue without any. The mask's folder, without a
        page.

    Raises:
        ConfigError: If a setting makes no sense.
        DataError: If the cutouts cannot be read.
        MismatchError: If another mask is in the way.
    """
    from ssl_photoz.core import artefact, workplace
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.qa.checks import make_mask, mask_is_made
    from ssl_photoz.qa.page import write_page
    from ssl_photoz.qa.summary import catalogue_at, summarise

    require_checks(reject)
    if not 1 <= sheet <= MAX_SHEET:
        raise ConfigError(f"sheet is {sheet}, expected 1 to {MAX_SHEET}")
    if sample < 1:
        raise ConfigError(f"sample is {sample}, expected at least 1")
    if not page and mask is None:
        raise ConfigError("page=false leaves nothing to do: give mask=FOLDER for a mask")
    out = Path(out)
    if page:
        workplace.require_place(out, folder=True)
    if page and read_as is None and not isinstance(data, Cutouts):
        if catalogue := catalogue_at(Path(data)):
            print(catalogue.as_text())
            artefact.write_json(out / "qa.json", catalogue.as_dict())
            return catalogue
    about: dict[str, Any] = {"bands": bands, "pixscale_arcsec": pixscale_arcsec}
    about |= {"read_as": read_as}
    made: Summary | Path = out
    with Cutouts.open(data, **about, in_order=True) as cutouts:
        if mask is not None:
            mask_is_made(Path(mask), cutouts, checks, reject=reject, **about)
        if page:
            made = summarise(cutouts, sample=sample)
            print(made.as_text())
            write_page(out, cutouts, made, checks, sheet=sheet, sample=sample)
            print(f"page: {out / 'qa.html'}")
        if mask is not None:
            made = made if page else Path(mask)
            print(make_mask(Path(mask), cutouts, checks, reject=reject, **about))
    return made
