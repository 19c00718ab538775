"""A path of verbs: what each is given, what is timed, where it stops."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from ssl_photoz import cli, pipeline
from ssl_photoz.core.errors import ConfigError, DataError


@dataclass(frozen=True)
class Inner:
    """A group.

    Attributes:
        value: A number.
    """

    value: float = 0.0


class Heard(NamedTuple):
    """What the verb `echo` was given."""

    out: Path = Path("none")
    inputs: tuple[Path, ...] = ()
    count: int | None = 1
    inner: Inner = Inner()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two more verbs: `echo` keeps what it is given, `fail` fails; `report` is silent."""
    given: list[Any] = []
    program = ModuleType("ssl_photoz.recipes.fake")

    def echo(
        out: str | Path = Path("none"),
        inputs: tuple[Path, ...] = (),
        count: int | None = 1,
        inner: Inner = Inner(),
    ) -> None:
        """Keep what is given.

        Args:
            out: A folder.
            inputs: Files.
            count: A number.
            inner: A group.
        """
        given.append(Heard(Path(out), inputs, count, inner))

    def fail() -> None:
        """Fail."""
        raise DataError("no such galaxy")

    program.echo, program.fail, program.report = echo, fail, echo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ssl_photoz.recipes.fake", program)
    for verb in ("echo", "fail", "report"):
        monkeypatch.setitem(cli.VERBS, verb, "recipes.fake")
    return given


def test_words_groups_and_yaml_reach_the_verb(
    heard: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_PHOTOZ_DATA", "/data")
    (tmp_path / "echo.yaml").write_text("count: 5\ninner: {value: 0.5}\n")
    step = {
        "out": "{out}/x",
        "inputs": ["{data}/a b.h5", "{configs}/demo.yaml"],
        "inner": {"value": 1e-5},
        "config": str(tmp_path / "echo.yaml"),
    }
    pipeline.run(steps=[{"echo": step}, {"echo": None}], out=tmp_path / "run")
    assert heard == [
        Heard(
            out=tmp_path / "run" / "x",
            inputs=(Path("/data/a b.h5"), pipeline.configs_folder() / "demo.yaml"),
            count=5,
            inner=Inner(1e-5),
        ),
        Heard(),
    ]


def test_a_step_can_be_typed_as_it_is_printed(heard: list[Any], tmp_path: Path) -> None:
    (step,) = pipeline.plan([{"echo": {"out": "a b", "inputs": ["c", "d"]}}], tmp_path)
    _, verb, *arguments = shlex.split(str(step))
    cli.run(verb, arguments)
    assert heard == [Heard(out=Path("a b"), inputs=(Path("c"), Path("d")))]


def test_null_is_passed_on(heard: list[Any], tmp_path: Path) -> None:
    pipeline.run(steps=[{"echo": {"count": None}}], out=tmp_path)
    assert heard == [Heard(count=None)]


def test_a_path_runs_from_its_yaml(
    heard: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yaml = tmp_path / "a.yaml"
    yaml.write_text("steps:\n- echo: {count: 2}\n- report:\n")
    assert cli.main(["run", str(yaml), f"out={tmp_path / 'run'}"]) == 0
    assert heard == [Heard(count=2), Heard()]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"report: {tmp_path.resolve()}/run/report.html"


def test_seconds_of_interrupted_runs_add_up(heard: list[Any], tmp_path: Path) -> None:
    (tmp_path / "timings.json").write_text('{"seconds": {"ssl-photoz echo count=2": 100}}')
    pipeline.run(steps=[{"echo": {"count": 2}}, {"echo": {}}], out=tmp_path)
    spent = json.loads((tmp_path / "timings.json").read_text())["seconds"]
    assert 100 <= spent["ssl-photoz echo count=2"] < 110
    assert 0 <= spent["ssl-photoz echo"] < 10


def test_a_path_stops_at_the_step_that_fails(
    heard: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yaml = tmp_path / "a.yaml"
    yaml.write_text("steps: [{echo: {}}, {fail: {}}, {echo: {}}]\n")
    assert cli.main(["run", str(yaml), f"out={tmp_path}"]) == 2
    assert capsys.readouterr().err == "error: step 2, fail: no such galaxy\n"
    assert len(heard) == 1
    assert "ssl-photoz fail" in json.loads((tmp_path / "timings.json").read_text())["seconds"]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"fly": {}}, "step 1 holds fly; expected one verb of select"),
        ({"embed": {}, "index": {}}, "step 1 holds embed, index; expected one verb"),
        ({}, "step 1 holds nothing"),
        ({"demo": {}}, "step 1 holds demo"),
        ({"run": {}}, "step 1 holds run"),
    ],
)
def test_a_step_that_is_no_verb_is_refused_first(step: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        pipeline.plan([step], Path("out"))


def test_a_missing_data_folder_is_said(
    heard: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SSL_PHOTOZ_DATA", raising=False)
    steps: list[Any] = [{"echo": {"inputs": ["{data}/a.h5"]}}]
    with pytest.raises(ConfigError, match="SSL_PHOTOZ_DATA"):
        pipeline.run(steps, tmp_path)
    assert heard == []


def test_an_unknown_key_is_found_before_the_first_step(heard: list[Any], tmp_path: Path) -> None:
    steps: list[dict[str, Any] | None] = [{"echo": {}}, {"echo": {"inner": {"valeu": 1}}}]
    with pytest.raises(ConfigError, match=r"step 2, unknown key 'inner.valeu'.*inner.value"):
        pipeline.run(steps, tmp_path)
    assert heard == []
