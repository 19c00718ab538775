"""Every YAML opens with the command that runs it, and that command parses."""

import re
import shlex
from pathlib import Path

import pytest

from ssl_photoz import cli, pipeline
from ssl_photoz.reports.scores import read_references

CONFIGS = Path(__file__).parents[1] / "configs"
YAMLS = sorted(CONFIGS.rglob("*.yaml"))
# References are numbers to quote beside a run's own: `report` reads them, no verb runs them.
RUNNABLE = [yaml for yaml in YAMLS if not yaml.name.startswith("references")]


def launch_command(yaml: Path) -> tuple[str, list[str]]:
    """Return the verb of the first line and its arguments, the YAML as an absolute path."""
    first = yaml.read_text(encoding="utf-8").splitlines()[0]
    written = yaml.relative_to(CONFIGS.parent).as_posix()
    found = re.fullmatch(rf"# ssl-photoz (\w+) {re.escape(written)}( .*)?", first)
    assert found, f"{written} opens with {first!r}"
    return found[1], [str(yaml), *shlex.split(found[2] or "")]


def test_there_are_configs_of_the_two_paths() -> None:
    assert {"demo.yaml", "real.yaml"} <= {yaml.name for yaml in YAMLS}


@pytest.mark.parametrize("yaml", RUNNABLE, ids=lambda p: p.name)
def test_the_launch_command_parses(yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_PHOTOZ_DATA", "/nowhere")
    verb, arguments = launch_command(yaml)
    given = cli.parse(verb, arguments)
    if verb == "run":
        assert pipeline.plan(given["steps"], given["out"])


@pytest.mark.parametrize("yaml", sorted(set(YAMLS) - set(RUNNABLE)), ids=lambda p: p.name)
def test_references_open_with_the_command_that_quotes_them(yaml: Path) -> None:
    first = yaml.read_text(encoding="utf-8").splitlines()[0]
    assert f"references={yaml.relative_to(CONFIGS.parent).as_posix()}" in first
    verb, *arguments = shlex.split(first.removeprefix("# ssl-photoz "))
    cli.parse(verb, arguments)
    assert read_references(yaml)
