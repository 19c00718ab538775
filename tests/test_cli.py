"""The command line: help without heavy libraries, exit statuses, one-line errors."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ssl_photoz import __version__, cli
from ssl_photoz.core.errors import DataError

HEAVY = {
    *("torch", "torchvision", "pytorch_lightning", "lightly", "faiss", "umap", "galsim", "numba"),
    *("sklearn", "scipy", "matplotlib", "h5py", "pyarrow", "astropy", "pandas", "PIL", "jinja2"),
    *("fastapi", "starlette", "pydantic", "uvicorn", "httpx", "lightning_fabric"),
}
PROBE = """
import json, sys
from ssl_photoz import cli
try:
    cli.main([{verb!r}, "--help"])
except SystemExit as done:
    status = done.code
print(json.dumps([status, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_loads_no_heavy_library(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(verb=verb)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *text, last = done.stdout.splitlines()
    status, loaded = json.loads(last)
    assert status == 0
    assert text[0] == f"usage: ssl-photoz {verb} [CONFIG.yaml] [key=value ...]"
    assert HEAVY & set(loaded) == set()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_usage_lists_every_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {verb} " in said for verb in cli.VERBS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ssl-photoz {__version__}\n"


def test_the_installed_command_fails_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ssl_photoz.cli", "embd"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: no verb 'embd'; nearest: embed; ssl-photoz --help lists them\n"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_an_unknown_key_names_the_nearest(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "outt=x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown key 'outt' in command line; nearest valid: ")
    assert said.count("\n") == 1


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The verb `fail`, whose program raises its attribute `error`."""
    program = ModuleType("ssl_photoz.recipes.failing")

    def fail() -> None:
        """Fail."""
        raise program.error

    program.fail = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ssl_photoz.recipes.failing", program)
    monkeypatch.setitem(cli.VERBS, "fail", "recipes.failing")
    monkeypatch.delenv("SSL_PHOTOZ_DEBUG", raising=False)
    return program


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DataError("a.h5 is empty"), 2, "error: a.h5 is empty\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.h5"),
            2,
            "error: [Errno 28] No space left on device: 'a.h5'; free some space, then run the "
            "same command to go on\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            2,
            "error: [Errno 13] Permission denied: '/x'; give an out= that you may write to\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted; run the same command to go on\n"),
    ],
)
def test_errors_are_one_line(
    failing: ModuleType,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
) -> None:
    failing.error = error  # type: ignore[attr-defined]
    assert cli.main(["fail"]) == status
    assert capsys.readouterr().err == said


def test_a_wrapped_full_disk_keeps_its_remedy(
    failing: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing.error = OSError(errno.ENOSPC, "No space left on device")  # type: ignore[attr-defined]
    assert cli.main(["run", "steps=[{fail: {}}]", f"out={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: step 1, fail: [Errno 28] No space left")
    assert "free some space" in said


def test_a_traceback_can_be_asked_for(failing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_PHOTOZ_DEBUG", "1")
    failing.error = DataError("a.h5 is empty")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="is empty"):
        cli.main(["fail"])


def test_a_bug_is_not_hidden(failing: ModuleType) -> None:
    failing.error = ZeroDivisionError("a bug")  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        cli.main(["fail"])


def test_a_reader_that_has_had_enough_is_no_error():
    # The reading end is closed before a word is written.
    command = f"{sys.executable} -u -m ssl_photoz.cli --help"
    ended = subprocess.run(
        ["bash", "-c", f"(sleep 1; {command}; echo status $? >&2) | true"],
        capture_output=True,
        text=True,
    )
    assert ended.stderr == "status 141\n"
