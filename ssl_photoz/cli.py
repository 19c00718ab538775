"""The ``ssl-photoz`` command: a verb, a YAML, ``key=value``.

A verb is a function of a program of the same name: ``ssl-photoz embed`` calls
`ssl_photoz.recipes.pretrain.embed.embed`, and takes its parameters. A program is imported when its
verb is run, and imports its heavy libraries when it starts, so that ``--help`` answers at once.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from ssl_photoz import VERBS as VERBS
from ssl_photoz.core.errors import ConfigError, SslPhotozError
from ssl_photoz.core.signals import StoppedError, stopping_at_once
from ssl_photoz.core.version import __version__

if TYPE_CHECKING:
    from ssl_photoz.core.config import Keys


class Former(NamedTuple):
    """What a verb of version 0.1 has become.

    Attributes:
        verb: The verb that does it now.
        given: What makes the new verb do it, as ``key=value``.
        renamed: Keys that have another name there.
    """

    verb: str
    given: tuple[str, ...] = ()
    renamed: Mapping[str, str] = {}


FORMER: dict[str, Former] = {
    "demo": Former("run"),
    "adapt": Former("harmonize"),
    "next": Former("dwarfs", ("propose=50",), {"dwarfs": "candidates", "n": "propose"}),
    "runs": Former("report", ("trainings=true", "run=runs"), {"folder": "run"}),
    "adopt_vectors": Former("adopt"),
    "classify": Former("supervise", ("head.kind=nearby",)),
    "apply": Former("predict", renamed={"network": "probe", "pdf": "density"}),
    "bands": Former(
        "predict", ("bands.measure=true", "orientations=1"), renamed={"network": "probe"}
    ),
    "clean": Former("inspect", given=("page=false", "mask=mask"), renamed={"out": "mask"}),
    "pack": Former("convert", given=("dtype=float16",)),
    "pdf": Former("probe", given=("density=true",)),
}


def run(verb: str, arguments: Sequence[str]) -> object:
    """Run one verb.

    Args:
        verb: A key of `VERBS`, or of `FORMER`.
        arguments: What follows the verb on the command line.

    Returns:
        What the verb's function returns.

    Raises:
        SslPhotozError: Whatever a user can act on.
    """
    given = parse(verb, arguments, tell=_note)
    return function_of(verb)(**given)


def parse(
    verb: str, arguments: Sequence[str], *, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Read the arguments that a verb would run with.

    Args:
        verb: A key of `VERBS`, or of `FORMER`.
        arguments: What follows the verb on the command line.
        tell: Called with a line about each verb or key of an earlier version.

    Returns:
        Keyword arguments of the verb's function.

    Raises:
        ConfigError: If there is no such verb, or the arguments are not its own.
    """
    from ssl_photoz.core import config

    former = FORMER.get(verb, Former(verb))
    if former.verb != verb:
        tell(f"{verb} is now {' '.join([former.verb, *former.given])}")
    return config.parse(
        function_of(verb),
        [*former.given, *arguments],
        prog=f"ssl-photoz {former.verb}",
        keys=keys_of(verb, tell=tell),
    )


def keys_of(verb: str, *, tell: Callable[[str], None] = lambda _: None) -> Keys:
    """The keys that a verb takes, those of earlier versions too.

    Raises:
        ConfigError: If there is no such verb.
    """
    from ssl_photoz.core import config

    function, former = function_of(verb), FORMER.get(verb, Former(verb))
    renamed = {**former.renamed, **getattr(_module_of(former.verb), "RENAMED", {})}
    return config.Keys(config.keys_of(function), renamed, tell)


def default_of(verb: str, key: str) -> object:
    """The value that a key of a verb has where nothing else is said.

    Raises:
        ConfigError: If there is no such verb or key.
    """
    from ssl_photoz.core.config import default_of

    return default_of(function_of(verb), keys_of(verb).resolve(key, where=verb))


def function_of(verb: str) -> Callable[..., object]:
    """The function that a verb calls.

    Raises:
        ConfigError: If there is no such verb.
    """
    now = FORMER[verb].verb if verb in FORMER else verb
    if now not in VERBS:
        near = difflib.get_close_matches(verb, [*VERBS, *FORMER], n=1)
        hint = f"nearest: {near[0]}" if near else f"verbs are {', '.join(VERBS)}"
        raise ConfigError(f"no verb {verb!r}; {hint}; ssl-photoz --help lists them")
    function: Callable[..., object] = getattr(_module_of(now), now)
    return function


def _module_of(verb: str) -> ModuleType:
    return importlib.import_module(f"ssl_photoz.{VERBS[verb]}")


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    try:
        return _answer(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:  # who reads has had enough, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _answer(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(f"ssl-photoz {__version__}")
        return 0
    try:
        with stopping_at_once():
            run(arguments[0], arguments[1:])
    except StoppedError as stop:
        print(stop, file=sys.stderr)
        return stop.exit_status
    except BrokenPipeError:
        raise
    except (SslPhotozError, OSError) as error:
        if os.environ.get("SSL_PHOTOZ_DEBUG"):
            raise
        print(f"error: {error}{_remedy(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command to go on", file=sys.stderr)
        return 130
    return 0


def _remedy(error: BaseException) -> str:
    """What to do about an error of the file system, also one that a step of a run wraps."""
    number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "; free some space, then run the same command to go on"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "; give an out= that you may write to"
    return ""


def _usage() -> str:
    from ssl_photoz.core.config import summary_of

    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary_of(function_of(verb))}" for verb in VERBS)
    return (
        "usage: ssl-photoz VERB [CONFIG.yaml] [key=value ...]\n\n"
        f"{verbs}\n\nssl-photoz VERB --help lists what a verb takes."
    )


if __name__ == "__main__":
    sys.exit(main())
