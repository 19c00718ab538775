"""What is looked for, and of which galaxies it is known: from redshifts, columns and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ssl_photoz.core.types import Array, Bools, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.settings import DwarfConfig
from ssl_photoz.nearby.verdicts import Verdict
from ssl_photoz.similarity.catalogue import Catalogue

DWARF = "dwarf"


@dataclass(frozen=True)
class Truth:
    """Questions about N galaxies and the answers known.

    Attributes:
        names: Short names of T questions, for columns; lists are ranked by the first.
        says: Questions in words.
        labels: 1 for yes, 0 for no, NaN where not known; shape (N, T).
    """

    names: tuple[str, ...]
    says: tuple[str, ...]
    labels: Floats

    def rows(self, mask: Bools) -> Ints:
        """Rows among ``mask``, shape (N,), where the first answer is known."""
        return np.flatnonzero(mask & np.isfinite(self.labels[:, 0]))

    def restricted_to(self, names: Sequence[str]) -> Truth:
        """Keep some of the questions, in the order given."""
        kept = [self.names.index(name) for name in names]
        return Truth(tuple(names), tuple(self.says[t] for t in kept), self.labels[:, kept])


def read_truth(embeddings: Embeddings, config: DwarfConfig, *, abs_mag: str = "abs_mag_r") -> Truth:
    """Ask which galaxies are nearby, and which are nearby dwarfs if a dwarf is defined.

    Nothing is known of a galaxy without a usable redshift (finite and above zero), whatever its
    other columns say; nor is a nearby galaxy known to be a dwarf where one of them is NaN.

    Args:
        embeddings: Store with redshifts.
        config: Definition of what is looked for.
        abs_mag: Column of absolute magnitudes.

    Returns:
        ``dwarf`` first if it is defined, all of z < z_max, flag, mass and magnitude; then
        z < z_max, named ``z0p05`` for 0.05; then the further limits.

    Raises:
        ArtefactError: If a column asked for is not there.
    """
    z_max, limits = config.z_max, tuple(dict.fromkeys((config.z_max, *config.also)))
    z = np.asarray(embeddings.column("z"), dtype=np.float64)
    z = np.where(z > 0, z, np.nan)
    asked = {
        f"z{limit:g}".replace(".", "p"): (f"z < {limit:g}", _below(z, limit)) for limit in limits
    }
    parts = [(f"z < {z_max:g}", _below(z, z_max))]
    if config.flag is not None:
        value = np.asarray(embeddings.column(config.flag), dtype=np.float64)
        parts.append((config.flag, np.where(np.isnan(value), np.nan, value != 0)))
    if config.stellar_mass_max is not None:
        limit, mass = config.stellar_mass_max, embeddings.column("stellar_mass")
        parts.append((f"stellar mass < {limit:g}", _below(mass, limit)))
    if config.abs_mag_min is not None:
        limit, magnitude = config.abs_mag_min, -embeddings.column(abs_mag)
        parts.append((f"{abs_mag} > {limit:g}", _below(magnitude, -limit)))
    if len(parts) > 1:
        words = ", ".join(says for says, _ in parts)
        asked = {DWARF: (words, _all_of([values for _, values in parts])), **asked}
    labels = np.stack([values for _, values in asked.values()], axis=1).astype(np.float32)
    return Truth(tuple(asked), tuple(says for says, _ in asked.values()), labels)


def words_of(catalogue: Catalogue, verdicts: Mapping[str, Verdict]) -> Array:
    """What was said of each galaxy, empty text where nothing was, shape (N,)."""
    said = {name: one.verdict for name, one in verdicts.items()}
    return np.array([said.get(str(one), "") for one in catalogue.id.tolist()], dtype=str)


def learn_verdicts(
    truth: Truth, catalogue: Catalogue, verdicts: Mapping[str, Verdict]
) -> tuple[Truth, dict[str, int]]:
    """Let verdicts answer the first question where the catalogue has no answer.

    Only galaxies of the train split learn from them: the validation and test splits stay as they
    were drawn, for a probability is calibrated and a score measured on galaxies nobody chose.
    A redshift outweighs a verdict, save ``junk``, which takes a train galaxy out altogether.


    Returns:
        The truth with them, and how many were used as ``dwarf``, ``not_dwarf`` and ``junk``,
        ``not_used`` (another split, or a redshift is known) and ``not_found`` (no such id).
    """
    words, labels = words_of(catalogue, verdicts), truth.labels.copy()
    train = catalogue.split == "train"
    open_question = train & np.isnan(labels[:, 0])
    labels[train & (words == "junk")] = np.nan
    for word, label in ((DWARF, 1.0), ("not_dwarf", 0.0)):
        labels[open_question & (words == word), 0] = label
    used = (train & (words == "junk")) | (open_question & (words != ""))
    counts = {word: int((used & (words == word)).sum()) for word in (DWARF, "not_dwarf", "junk")}
    known = set(map(str, catalogue.id.tolist()))
    counts["not_used"] = int(((words != "") & ~used).sum())
    counts["not_found"] = sum(name not in known for name in verdicts)
    return replace(truth, labels=labels), counts


def _below(values: Array, limit: float) -> Array:
    return np.where(np.isnan(values), np.nan, values < limit)


def _all_of(conditions: list[Array]) -> Array:
    """0 where one condition fails, else NaN where the redshift or another is not known."""
    each = np.stack(conditions)
    answer = np.where((each == 0).any(axis=0), 0.0, each.min(axis=0))
    return np.where(np.isnan(conditions[0]), np.nan, answer)
