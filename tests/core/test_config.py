"""YAML and overrides to a checked dataclass."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ssl_photoz.core import config
from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class Optimiser:
    """How to step.

    Attributes:
        learning_rate: Step size.
        momentum: Memory of past steps.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        source: Input file.
        epochs: Passes.
        bands: Names.
        optimiser: How to step.
    """

    source: Path = Path("cutouts.h5")
    epochs: int = 3
    bands: tuple[str, ...] = ("g", "r")
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ConfigError(f"epochs is {self.epochs}, expected 0 or more")


def parse(*arguments: str) -> Settings:
    return Settings(**config.parse(Settings, arguments, prog="ssl-photoz try"))


def yaml_file(folder: Path, text: str) -> str:
    (folder / "a.yaml").write_text(text)
    return str(folder / "a.yaml")


def test_defaults_are_the_dataclass() -> None:
    assert parse() == Settings()


def test_overrides_win_over_yaml_and_yaml_over_defaults(tmp_path: Path) -> None:
    yaml = yaml_file(tmp_path, "epochs: 5\noptimiser:\n  learning_rate: 0.5\n  momentum: 0.5\n")
    got = parse(yaml, "optimiser.momentum=0.25", "bands=[u,g]")
    assert got == Settings(epochs=5, bands=("u", "g"), optimiser=Optimiser(0.5, 0.25))


def test_dashes_are_accepted() -> None:
    assert parse("--epochs=7") == parse("epochs=7")


def test_a_bare_word_is_the_first_setting() -> None:
    assert parse("some/file.h5", "epochs=1") == Settings(source=Path("some/file.h5"), epochs=1)


def test_an_empty_yaml_changes_nothing(tmp_path: Path) -> None:
    assert parse(yaml_file(tmp_path, "# nothing yet\n")) == Settings()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["epoch=3"], "unknown key 'epoch' in command line; nearest valid: epochs"),
        (["optimizer.learning_rate=1"], "nearest valid: optimiser.learning_rate"),
        (["optimiser.momentun=1"], "'optimiser.momentun'.*nearest valid: optimiser.momentum"),
        (["epochs=many"], "epochs"),
        (["epochs=-1"], "epochs is -1, expected 0 or more"),
        (["-v"], "got '-v', expected"),
        (["no/such.yaml"], "no config file no/such.yaml"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(*arguments)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optimiser: {momentun: 1}", r"'optimiser.momentun' in .*a.yaml; .*optimiser.momentum"),
        ("epochs: [1, 2]", "epochs"),
        ("- epochs", "holds list, expected keys and values"),
        ("epochs: {", "not valid YAML"),
        ("source: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_what_is_wrong_in_a_yaml_is_said(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse(yaml_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_yaml_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read config file"):
        parse(str(tmp_path / "a.yaml"))


def test_keys_are_dotted_and_know_groups() -> None:
    keys = config.keys_of(Settings)
    assert keys["optimiser"] is True
    assert keys["optimiser.momentum"] is False
    assert "momentum" not in keys


@pytest.mark.parametrize("arguments", [["--as", "pasquet"], ["--as=pasquet"], ["read_as=pasquet"]])
def test_as_is_short_for_read_as(arguments):
    @dataclass(frozen=True)
    class Reading:
        data: Path
        read_as: str | None = None

    assert config.parse(Reading, ["a.npz", *arguments], prog="x")["read_as"] == "pasquet"


@dataclass(frozen=True)
class Schedule:
    """When to step.

    Attributes:
        warmup: Share of the run.
        momentum: Something else of the same name.
    """

    warmup: float = 0.05
    momentum: float = 0.0


def train(
    data: "str | Path | Cutouts",  # noqa: F821 - known to type checkers only
    out: str | Path,
    *,
    labels: int | None = None,
    name: str | int | None = None,
    optimiser: Optimiser = Optimiser(learning_rate=0.5),
    schedule: Schedule = Schedule(),
) -> "Encoder":  # noqa: F821
    """Train something.

    Args:
        data: Cutouts.
        out: Folder to write.
        labels: How many.
        name: Its name.
        optimiser: How to step.
        schedule: When to step.
    """


def call(*arguments: str, **keywords: dict[str, str]) -> dict[str, object]:
    keys = config.Keys(config.keys_of(train), **keywords)
    return config.parse(train, arguments, prog="ssl-photoz train", keys=keys)


def test_a_function_is_its_own_command_line() -> None:
    got = call("a.h5", "out=b", "labels=3", "optimiser.momentum=0.25", "name=007x")
    assert got == {
        "data": Path("a.h5"),
        "out": Path("b"),
        "labels": 3,
        "name": "007x",
        "optimiser": Optimiser(0.5, 0.25),
        "schedule": Schedule(),
    }
    assert isinstance(got["out"], Path)


def test_a_key_may_be_its_last_word_where_it_fits_no_other(tmp_path: Path) -> None:
    yaml = yaml_file(tmp_path, "data: a\nout: b\nwarmup: 0.5\noptimiser: {momentum: 0.125}\n")
    got = call(yaml, "learning_rate=0.75")
    assert got["schedule"] == Schedule(warmup=0.5)
    assert got["optimiser"] == Optimiser(0.75, 0.125)
    with pytest.raises(ConfigError, match=r"may be optimiser\.momentum or schedule.momentum"):
        call("a", "out=b", "momentum=1")


def test_keys_of_earlier_versions_are_read_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    renamed = {"optimizer": "optimiser", "optimiser.lr": "optimiser.learning_rate"}
    yaml = yaml_file(tmp_path, "data: a\nout: b\noptimizer: {lr: 0.25, momentum: 0.5}\n")
    got = call(yaml, renamed=renamed, tell=said.append)
    assert got["optimiser"] == Optimiser(0.25, 0.5)
    assert "optimizer is now optimiser" in said
    got = call("a", "out=b", "optimizer.lr=0.125", renamed=renamed)
    assert got["optimiser"] == Optimiser(0.125, 0.9)


def test_what_a_function_needs_must_be_given() -> None:
    with pytest.raises(ConfigError, match="out"):
        call("a.h5")


def test_help_has_what_the_docstring_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "Train something." in said
    assert "Folder to write." in said
    assert "Share of the run." in said


@dataclass(frozen=True)
class Beside:
    """Files beside.

    Attributes:
        listed: A table.
        others: More tables.
    """

    listed: Path = Path("~/list.csv")
    others: tuple[Path, ...] = ()


def locate(data: str | Path, out: str | Path = Path("runs"), beside: Beside = Beside()) -> None:
    """Locate files.

    Args:
        data: Cutouts.
        out: A folder.
        beside: Files beside.
    """


def test_a_tilde_is_the_home_folder_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    yaml = yaml_file(tmp_path, "data: ~/a.h5\nothers: [~/b.csv, c.csv]\n")
    assert config.parse(locate, ["~/a.yaml", "out=~/runs"], prog="x") == {
        "data": tmp_path / "a.h5",
        "out": tmp_path / "runs",
        "beside": Beside(tmp_path / "list.csv", (tmp_path / "b.csv", Path("c.csv"))),
    }
    assert yaml == str(tmp_path / "a.yaml")


@pytest.mark.parametrize("given", ["hats/Norder=3/Dir=0", "./healpix=12/001.hdf5", "/a/out=b.h5"])
def test_a_path_may_have_an_equals_sign(given: str) -> None:
    assert config.parse(locate, [given], prog="x")["data"] == Path(given)
    assert config.parse(locate, [f"data={given}"], prog="x")["data"] == Path(given)


def test_a_file_that_is_there_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "healpix=12").mkdir()
    assert config.parse(locate, ["healpix=12"], prog="x")["data"] == Path("healpix=12")
    with pytest.raises(ConfigError, match="unknown key 'healpix'"):
        config.parse(locate, ["healpix=13"], prog="x")
