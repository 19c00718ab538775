"""A pipeline: verbs run one after the other, each with its arguments, from one YAML.

The YAML holds ``steps``, a list of single-key mappings from a verb to its arguments; ``config``
among these names a YAML of the verb. Three words are replaced wherever they stand in a text:
``{out}`` by the folder of the run, ``{configs}`` by the folder of the packaged YAMLs, ``{data}``
by the folder that the environment variable ``SSL_PHOTOZ_DATA`` names.
"""

from __future__ import annotations

import importlib
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_photoz import cli
from ssl_photoz.core.artefact import read_json, write_json
from ssl_photoz.core.config import load_yaml
from ssl_photoz.core.errors import ArtefactError, ConfigError, SslPhotozError
from ssl_photoz.core.extras import require_for
from ssl_photoz.core.signals import StoppedError

Steps = list[dict[str, dict[str, Any] | None]]


class Step(NamedTuple):
    """One verb and what a user would type after it."""

    verb: str
    arguments: list[str]

    def __str__(self) -> str:
        return shlex.join(["ssl-photoz", self.verb, *self.arguments])


def run(steps: Steps | None = None, out: str | Path = Path("runs/demo")) -> None:
    """Run a pipeline of verbs from one YAML.

    The same command again goes on after an interruption: a step whose artefact is there is not
    repeated. ``timings.json`` in the folder keeps the seconds of each step.

    Args:
        steps: Verbs with their arguments, in order; those of the packaged demo.yaml by default.
        out: Folder of the run.

    Raises:
        ConfigError: If a step is not one verb with arguments of its own, or needs an extra that is
            not installed; before the first runs.
    """
    out = Path(out)
    planned = plan(steps, out)
    timings = out / "timings.json"
    spent = _seconds_before(timings)
    for number, step in enumerate(planned, 1):
        print(f"\n[{number}/{len(planned)}] {step}", flush=True)
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
        print(f"[{number}/{len(planned)}] {step.verb}: {seconds:.1f} s", flush=True)
    _print_seconds(planned, spent)
    if any(step.verb == "report" for step in planned):
        print(f"report: {(out / 'report.html').resolve()}")


def plan(steps: Steps | None, out: Path) -> list[Step]:
    """The steps as a user would type them, each checked before the first one runs.

    Raises:
        ConfigError: If a step is not one verb with arguments of its own, or needs an extra that is
            not installed.
    """
    steps = steps or load_yaml(configs_folder() / "demo.yaml")["steps"]
    words = {"out": str(out), "configs": str(configs_folder())}
    if data := os.environ.get("SSL_PHOTOZ_DATA"):
        words["data"] = data
    planned = []
    for number, given in enumerate(steps, 1):
        verb, arguments = _only_verb(given, number)
        try:
            step = Step(verb, _typed(verb, _filled(arguments or {}, words)))
            cli.parse(step.verb, step.arguments)
            require_for(cli.function_of(step.verb))
        except ConfigError as error:
            raise ConfigError(f"step {number}, {error}") from None
        planned.append(step)
    return planned


def configs_folder() -> Path:
    """Folder of the YAMLs that come with the package."""
    probe = importlib.import_module("ssl_photoz.recipes.probe")
    return Path(str(probe.__file__)).resolve().parents[1] / "configs"


def _only_verb(step: Mapping[str, Any], number: int) -> tuple[str, Any]:
    verbs = [verb for verb in (*cli.VERBS, *cli.FORMER) if verb not in ("run", "demo")]
    if len(step) != 1 or not set(step) <= set(verbs):
        raise ConfigError(
            f"step {number} holds {', '.join(map(str, step)) or 'nothing'}; "
            f"expected one verb of {', '.join(v for v in verbs if v in cli.VERBS)}"
        )
    return next(iter(step.items()))


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


def _typed(verb: str, given: Mapping[str, Any]) -> list[str]:
    """Arguments as ``key=value``; the verb's own YAML first, so that the rest override it."""
    own = {key: value for key, value in given.items() if key != "config"}
    first = [f"config={given['config']}"] if "config" in given else []
    flat = cli.keys_of(verb).flat(own, where="the YAML")
    return first + [f"{key}={_as_text(value)}" for key, value in flat.items()]


def _as_text(value: object) -> str:
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
