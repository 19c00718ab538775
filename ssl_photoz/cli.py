"""The ``ssl-photoz`` command: a verb, a YAML, overrides.

Each verb names a program; the program is imported when its verb is run, and imports its
heavy libraries when it starts, so that ``--help`` answers at once.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from ssl_photoz import __version__
from ssl_photoz.core.errors import ConfigError, SslPhotozError
from ssl_photoz.core.signals import StoppedError, stopping_at_once


class Verb(NamedTuple):
    """What a verb runs: module below `ssl_photoz.recipes`, settings, function; a line of help."""

    program: str
    settings: str
    function: str
    says: str


VERBS = {
    "inspect": Verb("survey.inspect", "Settings", "main", "take a census of a cutout file"),
    "select": Verb("survey.select", "Settings", "main", "select galaxies from a catalogue"),
    "fetch": Verb("survey.fetch", "Settings", "main", "get the cutouts of a catalogue"),
    "clean": Verb("survey.clean", "Settings", "main", "write a mask of cutouts to do without"),
    "simulate": Verb("survey.simulate", "Settings", "main", "make a simulated survey"),
    "convert": Verb("survey.convert", "Settings", "main", "copy cutouts of any format, exactly"),
    "pack": Verb("survey.pack", "Settings", "main", "copy cutouts smaller and faster"),
    "pretrain": Verb("pretrain.pretrain", "Settings", "main", "train an encoder without labels"),
    "align": Verb("pretrain.align", "Settings", "main", "let redshifts order an encoder"),
    "supervise": Verb("pretrain.supervise", "Settings", "main", "train a network on redshifts"),
    "transfer": Verb("pretrain.transfer", "Settings", "main", "train on one survey for another"),
    "embed": Verb("pretrain.embed", "Settings", "main", "run an encoder over a cutout file"),
    "classify": Verb("pretrain.classify", "Settings", "main", "train a network to tell nearby"),
    "apply": Verb("pretrain.apply", "Settings", "main", "ask a network about other cutouts"),
    "bands": Verb("pretrain.bands", "Settings", "main", "say what a network gets from each band"),
    "adopt": Verb("pretrain.adopt", "Settings", "main", "take an encoder of another project"),
    "adopt_vectors": Verb(
        "pretrain.adopt_vectors", "Settings", "main", "take embeddings of another project"
    ),
    "join": Verb("probe.join", "Settings", "main", "join embeddings folders into one"),
    "adapt": Verb("probe.harmonize", "Settings", "main", "bring embeddings to another survey's"),
    "probe": Verb("probe.probe", "Settings", "main", "fit and score redshift probes"),
    "predict": Verb("probe.probe", "PredictSettings", "predict", "apply a fitted probe"),
    "pdf": Verb("probe.pdf", "Settings", "main", "give galaxies redshift densities"),
    "correct": Verb("probe.correct", "Settings", "main", "correct redshifts for their biases"),
    "index": Verb("probe.index", "Settings", "main", "build a similarity index"),
    "query": Verb("probe.query", "Settings", "main", "find look-alikes"),
    "dwarfs": Verb("probe.dwarfs", "Settings", "main", "rank nearby-dwarf candidates"),
    "next": Verb("probe.next_looks", "Settings", "main", "propose candidates to look at"),
    "map": Verb("probe.map", "Settings", "main", "draw the embedding as a map"),
    "explore": Verb("probe.explore", "Settings", "main", "look at a run in a browser"),
    "report": Verb("probe.report", "Settings", "main", "write one HTML page about a run"),
    "runs": Verb("probe.runs", "Settings", "main", "list trainings and what was changed"),
    "demo": Verb(".pipeline", "Settings", "main", "run a whole path of verbs from one YAML"),
}


def run(verb: str, arguments: Sequence[str]) -> None:
    """Run one verb.

    Args:
        verb: A key of `VERBS`.
        arguments: What follows the verb on the command line.

    Raises:
        SslPhotozError: Whatever a user can act on.
    """
    settings = parse(verb, arguments)
    getattr(_program(verb), VERBS[verb].function)(settings)


def parse(verb: str, arguments: Sequence[str]) -> object:
    """Return the settings that a verb would run with.

    Args:
        verb: A key of `VERBS`.
        arguments: What follows the verb on the command line.

    Raises:
        ConfigError: If there is no such verb, or the arguments are not its settings.
    """
    from ssl_photoz.core import config

    says = VERBS[verb].says if verb in VERBS else ""
    return config.parse(
        settings_of(verb),
        arguments,
        prog=f"ssl-photoz {verb}",
        description=f"{says[:1].upper()}{says[1:]}.",
    )


def settings_of(verb: str) -> type[Any]:
    """Return the settings class of a verb.

    Raises:
        ConfigError: If there is no such verb.
    """
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"nearest: {near[0]}" if near else f"verbs are {', '.join(VERBS)}"
        raise ConfigError(f"no verb {verb!r}; {hint}; ssl-photoz --help lists them")
    kind: type[Any] = getattr(_program(verb), VERBS[verb].settings)
    return kind


def _program(verb: str) -> ModuleType:
    return importlib.import_module(f".{VERBS[verb].program}", "ssl_photoz.recipes")


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
    """Say what to do about an error of the file system, also one that a step of a path wraps."""
    number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "; free some space, then run the same command to go on"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "; give an out= that you may write to"
    return ""


def _usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {entry.says}" for verb, entry in VERBS.items())
    return (
        "usage: ssl-photoz VERB [CONFIG.yaml] [key=value ...]\n\n"
        f"{verbs}\n\nssl-photoz VERB --help lists the settings of a verb."
    )


if __name__ == "__main__":
    sys.exit(main())
