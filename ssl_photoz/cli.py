"""The ``ssl-photoz`` command: a verb, a YAML, overrides.

Each verb names a program; the program is imported when its verb is run, and imports its
heavy libraries when it starts, so that ``--help`` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ssl_photoz import __version__
from ssl_photoz.errors import ConfigError, SslPhotozError


class Verb(NamedTuple):
    """What a verb runs: ``module:Settings:function``, and a line of help."""

    program: str
    settings: str
    function: str
    says: str


VERBS = {
    "inspect": Verb("pretrain.inspect", "Settings", "main", "take a census of a cutout file"),
    "simulate": Verb("pretrain.simulate", "Settings", "main", "make a simulated survey"),
    "pretrain": Verb("pretrain.moco", "Settings", "main", "train an encoder without labels"),
    "embed": Verb("pretrain.embed", "Settings", "main", "run an encoder over a cutout file"),
    "probe": Verb("probe.redshift", "Settings", "main", "fit and score redshift probes"),
    "predict": Verb("probe.redshift", "PredictSettings", "predict", "apply a fitted probe"),
    "index": Verb("probe.similarity", "Settings", "main", "build a similarity index"),
    "query": Verb("probe.similarity", "QuerySettings", "query", "find look-alikes"),
    "dwarfs": Verb("probe.dwarfs", "Settings", "main", "rank nearby-dwarf candidates"),
    "map": Verb("probe.map", "Settings", "main", "draw the embedding as a map"),
    "report": Verb("probe.report", "Settings", "main", "write one HTML page about a run"),
    "demo": Verb("probe.demo", "Settings", "main", "run a whole path of verbs from one YAML"),
}


def run(verb: str, arguments: Sequence[str]) -> None:
    """Run one verb.

    Args:
        verb: A key of `VERBS`.
        arguments: What follows the verb on the command line.

    Raises:
        SslPhotozError: Whatever a user can act on.
    """
    from ssl_photoz import config

    if verb not in VERBS:
        raise ConfigError(f"no verb {verb!r}; verbs are {', '.join(VERBS)}")
    entry = VERBS[verb]
    program = importlib.import_module(f"ssl_photoz.recipes.{entry.program}")
    settings = config.parse(
        getattr(program, entry.settings),
        arguments,
        prog=f"ssl-photoz {verb}",
        description=entry.says.capitalize() + ".",
    )
    getattr(program, entry.function)(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(f"ssl-photoz {__version__}")
        return 0
    try:
        run(arguments[0], arguments[1:])
    except (SslPhotozError, OSError) as error:
        if os.environ.get("SSL_PHOTOZ_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command to go on", file=sys.stderr)
        return 130
    return 0


def _usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {entry.says}" for verb, entry in VERBS.items())
    return (
        "usage: ssl-photoz VERB [CONFIG.yaml] [key=value ...]\n\n"
        f"{verbs}\n\nssl-photoz VERB --help lists the settings of a verb."
    )


if __name__ == "__main__":
    sys.exit(main())
