"""Has the encoder seen the redshifts that a probe is scored on?"""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.errors import ContaminatedError
from ssl_photoz.core.types import Array
from ssl_photoz.embeddings.store import Embeddings

MARK = "CONTAMINATED: "


def refuse_contaminated(embeddings: Embeddings, *, allow: bool) -> None:
    """Refuse embeddings whose encoder learnt from validation or test redshifts.

    Args:
        embeddings: Their card lists the ids in ``labels_seen``; without it there is nothing to do.
        allow: Let them pass.

    Raises:
        ContaminatedError: If there are such galaxies, and they are not allowed.
    """
    held_out = _contaminated(embeddings)
    if len(held_out) and not allow:
        raise ContaminatedError(
            f"the encoder of {embeddings.folder} learnt from the redshifts of {len(held_out)} "
            f"galaxies of the validation and test splits (first: id {held_out[0]}), so a score "
            f"there says nothing; use an encoder that has not, or set contaminated=allow to have "
            f"every score marked {MARK.strip(': ')}"
        )


def label_facts(embeddings: Embeddings, train_ids: Array, label: str) -> dict[str, str | int]:
    """Say what the encoder has seen of labels, for metrics and cards.

    Args:
        embeddings: The store.
        train_ids: Ids of the galaxies that the probe is fitted to, (N,).
        label: What the features are called.

    Returns:
        ``label``, marked if contaminated. If the encoder saw labels, also how many
        (``labels_seen``), how many of them the probe is not fitted to (``labels_seen_beyond``), and
        how many are of the validation and test splits (``contaminated``).
    """
    if "labels_seen" not in embeddings.card:
        return {"label": label}
    seen = _as_text(embeddings.card["labels_seen"])
    contaminated = len(_contaminated(embeddings))
    return {
        "label": f"{MARK}{label}" if contaminated else label,
        "labels_seen": len(seen),
        "labels_seen_beyond": int((~np.isin(seen, _as_text(train_ids))).sum()),
        "contaminated": contaminated,
    }


def _contaminated(embeddings: Embeddings) -> Array:
    """Ids of validation and test galaxies whose label the encoder has seen."""
    seen = embeddings.card.get("labels_seen", [])
    if not seen:
        return np.empty(0, str)
    ids = _as_text(embeddings.column("id"))
    held_out = embeddings.column("split").astype(str) != "train"
    found: Array = ids[held_out & np.isin(ids, _as_text(seen))]
    return found


def _as_text(ids: object) -> Array:
    return np.array([str(one) for one in np.asarray(ids, dtype=object).tolist()], dtype=str)
