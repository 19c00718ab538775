"""Which numbers of an embedding a line of the table reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.encoders.backbones import STAGE_WIDTHS
from ssl_photoz.photoz.labels import Labelled

WHOLE = ("all", "both")


def read_outs(embeddings: Embeddings, encoder: Path, names: Sequence[str]) -> dict[str, slice]:
    """Return which columns of the embeddings each read-out is.

    ``all`` and ``both`` are all of them, ``last`` the mean of a ResNet's last stage, and every
    other name is one of `Embeddings.parts`.

    Args:
        embeddings: The store.
        encoder: Folder of the encoder that made them, asked for what it is if it has no blocks.
        names: Read-outs that are wanted; none: all numbers, and the last stage if there is one.

    Raises:
        ConfigError: If there is no such read-out.
    """
    known = dict(embeddings.parts)
    if not known:
        card = artefact.read_card(encoder, "encoder")["encoder"]
        if card["backbone"] in STAGE_WIDTHS:  # a ResNet
            known["last"] = last_stage(card)
        names = names or ("all", *known)
    names = names or ("both",)
    known = dict.fromkeys(WHOLE, slice(None)) | known
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"{embeddings.folder} has no read-out {', '.join(unknown)}; it has "
            f"{', '.join(known)}: name some of these as readouts of its configuration"
        )
    return {name: known[name] for name in names}


def take(galaxies: Labelled, columns: slice) -> Labelled:
    """Return galaxies with some columns of their features alone."""
    return replace(galaxies, features=np.ascontiguousarray(galaxies.features[:, columns]))


def last_stage(encoder: Mapping[str, Any]) -> slice:
    """Return where an embedding of all stages holds the mean of the last one."""
    from ssl_photoz.encoders.settings import HALVINGS

    width = STAGE_WIDTHS[encoder["backbone"]][-1]
    side = -(-encoder["crop_px"] // 2 ** HALVINGS[encoder["stem"]])
    return slice(-2 * width, -width) if side >= 4 else slice(-width, None)
