"""The table of a map, for programs that know nothing of this one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.map import Layout
from ssl_photoz.similarity.map_figure import Colour

OTHER_NAMES = {"row", "z", "embedding", "aperture", "thumbnail"}  # said otherwise, or left out


def map_columns(embeddings: Embeddings, catalogue: Catalogue, layout: Layout) -> dict[str, Array]:
    """Return the columns of ``map.parquet``: numbers, truth values and text, a value a row.

    Args:
        embeddings: The store.
        catalogue: Its galaxies, with predictions if there are any.
        layout: Where they lie.

    Returns:
        ``row`` (position in the store), ``id``, ``ra``, ``dec``, ``x``, ``y``, ``fitted``,
        ``z_spec``; with predictions ``z_phot``, ``z_lo``, ``z_hi`` and ``residual``; then every
        plain column of the store, preceded by ``catalogue_`` where its name is taken.
    """
    columns = {
        "row": np.arange(len(catalogue)),
        "id": catalogue.id,
        "ra": catalogue.ra,
        "dec": catalogue.dec,
        "x": layout.places[:, 0],
        "y": layout.places[:, 1],
        "fitted": layout.fitted,
        "z_spec": catalogue.z,
        **catalogue.photoz,
    }
    if "z_phot" in columns:
        columns["residual"] = residuals(catalogue)
    for name in _plain(embeddings):
        if name not in OTHER_NAMES | {"id", "ra", "dec"}:
            columns[f"catalogue_{name}" if name in columns else name] = embeddings.column(name)
    return {name: _plainly(values) for name, values in columns.items()}


def residuals(catalogue: Catalogue) -> Array:
    """Return (z_phot - z_spec) / (1 + z_spec) of the test galaxies, NaN for the others, (N,).

    A probe is fitted to the training galaxies and tuned on the validation galaxies: what is left
    over on them says nothing of its errors.
    """
    z = catalogue.z.astype(np.float64)
    with np.errstate(invalid="ignore"):
        residual = (catalogue.photoz["z_phot"] - z) / (1 + z)
    return np.where(catalogue.split == "test", residual, np.nan).astype(np.float32)


def colours_of(
    embeddings: Embeddings, catalogue: Catalogue, *, magnitude: str | None
) -> list[Colour]:
    """Return what the map is coloured by: redshifts, magnitude, residual.

    Args:
        embeddings: For the magnitude.
        catalogue: For the rest, with predictions if there are any.
        magnitude: Column of the store; None: there is none.

    Raises:
        ConfigError: If the store has no such column, or it holds no numbers.
    """
    colours = [Colour("z_spec", catalogue.z)]
    if "z_phot" in catalogue.photoz:
        colours.append(Colour("z_phot", catalogue.photoz["z_phot"]))
    if magnitude is not None:
        colours.append(Colour(f"{magnitude}, mag", _numbers(embeddings, magnitude)))
    if "z_phot" in catalogue.photoz:
        label = "(z_phot \N{MINUS SIGN} z_spec) / (1 + z_spec), test split"
        colours.append(Colour(label, residuals(catalogue), signed=True))
    return colours


def _numbers(embeddings: Embeddings, name: str) -> Array:
    if name not in _plain(embeddings):
        raise ConfigError(
            f"magnitude={name} is no plain column of {embeddings.folder}; it has "
            f"{', '.join(_plain(embeddings))}"
        )
    values = embeddings.column(name)
    if values.dtype.kind not in "iuf":
        raise ConfigError(f"magnitude={name} holds {values.dtype}, expected numbers")
    values = values.astype(np.float32)
    return np.where(np.isfinite(values), values, np.nan)


def _plain(embeddings: Embeddings) -> list[str]:
    schema = pq.read_schema(embeddings.folder / min(embeddings.card["shards"]))
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_nested)
    return [field.name for field in schema if not any(is_it(field.type) for is_it in binary)]


def _plainly(values: Array) -> Array:
    """Return values in a type that TOPCAT reads from Parquet, to the last digit."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype == np.uint64:
        return values.astype(np.int64 if (values < 1 << 63).all() else str)
    return values
