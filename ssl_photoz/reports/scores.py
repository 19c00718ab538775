"""The tables of redshift metrics: every probe of the run, its baselines, and quoted figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_photoz.core.artefact import read_json
from ssl_photoz.core.config import load_yaml
from ssl_photoz.core.errors import ArtefactError, ConfigError
from ssl_photoz.core.find import Artefact


class Column(NamedTuple):
    """How a figure is written.

    Attributes:
        key: Its name in ``metrics.json``.
        heading: Its name on the page.
        form: Its format.
        factor: Factor that it is multiplied by first.
    """

    key: str
    heading: str
    form: str = ".4f"
    factor: float = 1


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        label: Name of what was scored.
        cells: One text per column.
        note: Remark for the reader.
        quoted: True if the figures are not from this run.
    """

    label: str
    cells: list[str]
    note: str = ""
    quoted: bool = False


SIGMA = Column("sigma_nmad", "\N{GREEK SMALL LETTER SIGMA}_NMAD")
OUTLIERS = Column("outliers_05", "|Δz| > 0.05, %", ".1f", 100)
RMSE = Column("rmse", "RMSE")
METRICS = (
    Column("labels", "labels", ".0f"),
    Column("n", "n test", ".0f"),
    SIGMA,
    OUTLIERS,
    Column("r2", "R²", ".3f"),
    Column("bias", "bias", "+.4f"),
    Column("outliers_10", "> 0.10, %", ".1f", 100),
    Column("outliers_15", "> 0.15, %", ".1f", 100),
    RMSE,
    Column("mae", "MAE"),
    Column("coverage", "in 68 % interval, %", ".0f", 100),
)
DIFFERENCES = tuple(c._replace(form=f"+{c.form}") for c in (SIGMA, OUTLIERS, RMSE))
NEARBY = (
    Column("z_max", "z <", ".2f"),
    Column("n", "n test", ".0f"),
    Column("purity", "purity, %", ".0f", 100),
    Column("completeness", "completeness, %", ".0f", 100),
    Column("purity_at_90_completeness", "purity at 90 % completeness, %", ".0f", 100),
)
DENSITIES = (
    Column("n", "n test", ".0f"),
    Column("ks", "KS of PIT", ".3f"),
    Column("ks_of_chance", "KS by chance", ".3f"),
    Column("held", "in 68 % interval, %", ".1f", 100),
    Column("crps", "CRPS", ".5f"),
    Column("cde_loss", "CDE loss", ".2f"),
    SIGMA,
    OUTLIERS,
    Column("r2", "R²", ".3f"),
    Column("good", "flagged good, %", ".1f", 100),
)
COVERAGE = (
    Column("outside", "outside of the labels, %", ".1f", 100),
    Column("sigma_nmad_inside", "\N{GREEK SMALL LETTER SIGMA}_NMAD inside"),
    Column("outliers_05_inside", "|Δz| > 0.05 inside, %", ".1f", 100),
    Column("sigma_nmad_outside", "\N{GREEK SMALL LETTER SIGMA}_NMAD outside"),
    Column("outliers_05_outside", "|Δz| > 0.05 outside, %", ".1f", 100),
)
QUOTED_NOTE = "quoted, other split"


def read_metrics(artefacts: Sequence[Artefact]) -> list[Row]:
    """One row per probe; predicting the mean once, as it is the same for all.

    Raises:
        ArtefactError: If a ``metrics.json`` is missing or damaged.
    """
    rows: dict[str, Row] = {}
    for label, probe, metrics, scores in _probes(artefacts):
        known = {**scores, "labels": metrics["labels"]["train"]}
        name = "predicting the mean" if probe == "mean" else f"{label}: {probe}"
        rows.setdefault(name, Row(name, [_cell(known, column) for column in METRICS]))
    return list(rows.values())


def read_differences(artefacts: Sequence[Artefact]) -> list[Row]:
    """One row per probe and baseline: differences of metrics on the same galaxies.

    Raises:
        ArtefactError: If a ``metrics.json`` is missing or damaged.
    """
    rows = []
    for label, probe, metrics, _ in _probes(artefacts):
        mine = [said for said in metrics["versus"] if said["probe"] == probe]
        for baseline in dict.fromkeys(map(_baseline_of, mine)):
            by_metric = {said["metric"]: said for said in mine if _baseline_of(said) == baseline}
            cells = [_difference(by_metric.get(column.key), column) for column in DIFFERENCES]
            rows.append(Row(f"{label}: {probe}, against {baseline}", cells))
    return rows


def read_nearby(artefacts: Sequence[Artefact]) -> list[Row]:
    """One row per probe and limit: how well a cut in z_phot selects nearby galaxies.

    Raises:
        ArtefactError: If a ``metrics.json`` is missing or damaged.
    """
    return [
        Row(f"{label}: {probe}", [_cell(selection, column) for column in NEARBY])
        for label, probe, _, scores in _probes(artefacts)
        for selection in scores["nearby"]
        if probe != "mean"
    ]


def read_coverage(artefacts: Sequence[Artefact]) -> list[Row]:
    """One row per probe: scores of test galaxies inside and outside of the labels.

    Raises:
        ArtefactError: If a ``metrics.json`` is missing or damaged.
    """
    rows = []
    for label, probe, _, scores in _probes(artefacts):
        if probe == "mean" or "label_coverage" not in scores:
            continue
        apart = scores["label_coverage"]
        known = {
            f"{key}_{where}": value for where, of in apart.items() for key, value in of.items()
        }
        known["outside"] = known["n_outside"] / (known["n_inside"] + known["n_outside"])
        rows.append(Row(f"{label}: {probe}", [_cell(known, column) for column in COVERAGE]))
    return rows


def read_densities(artefacts: Sequence[Artefact]) -> list[Row]:
    """Two rows per set of redshift densities: calibrated, and as they came.

    Raises:
        ArtefactError: If a ``metrics.json`` is missing or damaged.
    """
    rows = []
    for artefact in artefacts:
        if artefact.kind == "densities":
            metrics = read_json(artefact.folder / "metrics.json")
            for key, said in {"test": "calibrated", "test_uncalibrated": "as fitted"}.items():
                scores = metrics[key]
                known = {**scores["point"], **scores, "held": scores["coverage"]["0.68"]}
                label = f"{metrics['label']}: {metrics['method']}, {said}"
                rows.append(Row(label, [_cell(known, column) for column in DENSITIES]))
    return rows


def read_references(path: Path) -> list[Row]:
    """Read published figures to show beside the run's own.

    Args:
        path: YAML with ``rows``, each with ``label``, any key of `METRICS` (fractions, not per
            cent) and an optional ``note``.

    Raises:
        ConfigError: If the file is missing, a row has no label, or a key or value is unknown.
    """
    given = load_yaml(path).get("rows")
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise ConfigError(f"{path} has no list of rows; expected rows: [{{label, r2, ...}}]")
    known = [column.key for column in METRICS]
    rows = []
    for number, row in enumerate(given, 1):
        unknown = set(row) - {*known, "label", "note"}
        numbers = [value for key, value in row.items() if key in known]
        if unknown or "label" not in row or not all(isinstance(v, int | float) for v in numbers):
            raise ConfigError(
                f"row {number} of {path} holds {row}; expected a label, an optional note, and "
                f"numbers for any of {', '.join(known)}"
            )
        note = "; ".join(filter(None, [QUOTED_NOTE, row.get("note")]))
        rows.append(Row(str(row["label"]), [_cell(row, column) for column in METRICS], note, True))
    return rows


def _probes(
    artefacts: Sequence[Artefact],
) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Label, name of the probe, all metrics of its artefact, its scores on the test split."""
    for artefact in artefacts:
        if artefact.kind != "probe":
            continue
        path = artefact.folder / "metrics.json"
        metrics = read_json(path)
        if lacking := {"label", "labels", "probes", "versus"} - set(metrics):
            raise ArtefactError(
                f"{path} lacks {', '.join(sorted(lacking))}; delete its folder and run probe again"
            )
        for probe, scores in metrics["probes"].items():
            yield metrics["label"], probe, metrics, scores["test"]


def _baseline_of(said: Mapping[str, Any]) -> str:
    """What a probe is compared with; version 0.1 called it a rival."""
    return str(said["baseline"] if "baseline" in said else said["rival"])


def _cell(figures: Mapping[str, Any], column: Column) -> str:
    return _number(figures.get(column.key), figures.get(f"error_{column.key}"), column)


def _difference(said: Mapping[str, Any] | None, column: Column) -> str:
    if said is None:
        return ""
    text = _number(said["difference"], said["error"], column)
    return f"{text} better" if said["beats"] else text


def _number(value: float | None, error: float | None, column: Column) -> str:
    """Write a figure with its error; nothing where there is none."""
    if value is None:
        return ""
    text = format(value * column.factor, column.form).replace("-", "\N{MINUS SIGN}")
    if error is None:
        return text
    return f"{text} ± {format(error * column.factor, column.form.lstrip('+'))}"
