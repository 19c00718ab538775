"""A path: verbs run one after the other, each with its settings, from one YAML.

The YAML holds ``steps``, a list of single-key mappings from a verb to its settings; ``config``
among these names the verb's own YAML. Three words are replaced wherever they stand in a text:
``{out}`` by the folder of the run, ``{configs}`` by the folder of the packaged YAMLs, ``{data}``
by the folder that the environment variable ``SSL_PHOTOZ_DATA`` names.
"""

from __future__ import annotations

import importlib
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ssl_photoz import cli
from ssl_photoz.core.artefact import read_json, write_json
from ssl_photoz.core.config import keys_of, load_yaml
from ssl_photoz.core.errors import ArtefactError, ConfigError, SslPhotozError
from ssl_photoz.core.signals import StoppedError


@dataclass(frozen=True)
class Settings:
    """What to run, and where its artefacts go.

    Run the same command again to go on after an interruption: a step whose artefact is there
    is not repeated.

    Attributes:
        steps: Verbs with their settings, in order; empty: those of the packaged demo.yaml.
        out: Folder of the run.
    """

    steps: list[dict[str, dict[str, Any] | None]] = field(default_factory=list)
    out: Path = Path("runs/demo")

    def __post_init__(self) -> None:
        """Refuse a step that names no verb, or several, before the first one runs."""
        verbs = [verb for verb in cli.VERBS if verb != "demo"]
        for number, step in enumerate(self.steps, 1):
            if len(step) != 1 or not set(step) <= set(verbs):
                raise ConfigError(
                    f"step {number} holds {', '.join(map(str, step)) or 'nothing'}; "
                    f"expected one verb of {', '.join(verbs)}"
                )


class Step(NamedTuple):
    """One verb and what a user would type after it."""

    verb: str
    arguments: list[str]

    def __str__(self) -> str:
        return shlex.join(["ssl-photoz", self.verb, *self.arguments])


def main(settings: Settings) -> None:
    """Run every step; write ``timings.json``; say where the report is."""
    steps = plan(settings)
    timings = settings.out / "timings.json"
    spent = _seconds_before(timings)
    for number, step in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {step}", flush=True)
        started = time.perf_counter()
        try:
            cli.run(step.verb, step.arguments)
        except StoppedError:
            raise
        except (SslPhotozError, OSError) as error:
            raise SslPhotozError(f"step {number}, {step.verb}: {error}") from error
        finally:
            seconds = time.perf_counter() - started
            spent[str(step)] = round(spent.get(str(step), 0.0) + seconds, 2)
            write_json(timings, {"seconds": spent})
        print(f"[{number}/{len(steps)}] {step.verb}: {seconds:.1f} s", flush=True)
    _print_seconds(steps, spent)
    if any(step.verb == "report" for step in steps):
        print(f"report: {(settings.out / 'report.html').resolve()}")


def plan(settings: Settings) -> list[Step]:
    """Return the steps as a user would type them, each checked before the first one runs.

    Raises:
        ConfigError: If the settings of a step are not those of its verb.
    """
    steps = settings.steps or Settings(**load_yaml(configs_folder() / "demo.yaml")).steps
    words = {"out": str(settings.out), "configs": str(configs_folder())}
    if data := os.environ.get("SSL_PHOTOZ_DATA"):
        words["data"] = data
    planned = []
    for number, (verb, given) in enumerate((item for step in steps for item in step.items()), 1):
        step = Step(verb, _arguments(verb, _filled(given or {}, words)))
        try:
            cli.parse(step.verb, step.arguments)
        except ConfigError as error:
            raise ConfigError(f"step {number}, {error}") from None
        planned.append(step)
    return planned


def configs_folder() -> Path:
    """Return the folder of the YAMLs that come with the package."""
    probe = importlib.import_module("ssl_photoz.recipes.probe")
    return Path(str(probe.__file__)).resolve().parents[1] / "configs"


def _filled(value: Any, words: Mapping[str, str]) -> Any:  # noqa: ANN401 - any YAML value
    """Replace the words in every text of a YAML value."""
    if isinstance(value, Mapping):
        return {key: _filled(below, words) for key, below in value.items()}
    if isinstance(value, list):
        return [_filled(below, words) for below in value]
    if not isinstance(value, str):
        return value
    if "{data}" in value and "data" not in words:
        raise ConfigError(f"{value!r} needs the environment variable SSL_PHOTOZ_DATA, a folder")
    for word, replacement in words.items():
        value = value.replace(f"{{{word}}}", replacement)
    return value


def _arguments(verb: str, given: Mapping[str, Any]) -> list[str]:
    """Write settings as ``key=value``; the verb's own YAML first, so that the rest override it."""
    groups = {key for key, is_group in keys_of(cli.settings_of(verb)).items() if is_group}
    typed = [f"{key}={_typed(value)}" for key, value in _flat(given, groups)]
    return sorted(typed, key=lambda argument: not argument.startswith("config="))


def _flat(given: Mapping[str, Any], groups: set[str], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        key = f"{above}{name}"
        if key in groups and isinstance(value, Mapping):
            yield from _flat(value, groups, f"{key}.")
        else:
            yield key, value


def _typed(value: object) -> str:
    """Write one value as text that YAML reads back."""
    import yaml

    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n")[0]


def _seconds_before(timings: Path) -> dict[str, float]:
    """Read the seconds that earlier, interrupted runs of the same steps took."""
    try:
        return {name: float(seconds) for name, seconds in read_json(timings)["seconds"].items()}
    except (ArtefactError, KeyError, AttributeError, TypeError, ValueError):
        return {}


def _print_seconds(steps: Sequence[Step], spent: Mapping[str, float]) -> None:
    print("\nseconds, those of interrupted runs included")
    for step in steps:
        print(f"  {step.verb:<10} {spent[str(step)]:8.1f}")
    print(f"  {'total':<10} {sum(spent[str(step)] for step in steps):8.1f}")
