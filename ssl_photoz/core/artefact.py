"""Artefacts: folders that appear whole or not at all, each with a ``card.json``.

A card says what made the artefact, with which settings, and from which parents (by the
sha256 of their cards or files), so that a mismatch is found before it costs anything.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

from ssl_photoz.core.errors import ArtefactError, ConfigError, MismatchError
from ssl_photoz.core.inputs import fingerprint as fingerprint
from ssl_photoz.core.version import __version__

if TYPE_CHECKING:
    from ssl_photoz.core.types import PathLike

SCHEMA_VERSION = 1
OPENING = b"ssl_photoz checkpoint, sha256 "
FORMER_KINDS = {"pdf": "densities", "bands": "band_importance"}  # of version 0.1
FORMER_FACTS = {"adapted": "harmonized"}
NO_WORK = ("started.json", "rejects.parquet")  # what is written before the work that takes long


Value = TypeVar("Value")


class Fact(Generic[Value]):
    """A fact of a card, under its own name: ``rows = Fact(int)``.

    Args:
        read: Maker of the value from what JSON holds.
        default: Value where the card says nothing, or null; without one it must say something.
    """

    def __init__(self, read: Callable[[Any], Value], *default: object) -> None:
        self._read = read
        self._default = default

    def __set_name__(self, owner: type[Card], name: str) -> None:
        self._name = name

    def __get__(self, card: Card, owner: type[Card]) -> Value:
        if not self._default:
            return self._read(card[self._name])
        value = card.get(self._name)
        value = self._default[0] if value is None else value
        return cast(Value, None) if value is None else self._read(value)


class Card(dict[str, Any]):
    """What a ``card.json`` says; rooms add what the cards of their own artefacts say.

    Attributes:
        kind: What the artefact is: ``encoder``, ``embeddings``, ``probe`` ...
        config: Resolved settings that it was made with.
        parents: Name of each parent to its sha256, or its fingerprint.
        simulated: Whether its galaxies are simulated.
        calibrated: Whether pixels are flux in nanomaggies, not display values.
    """

    kind = Fact(str)
    config = Fact(dict[str, Any], {})
    parents = Fact(dict[str, str], {})
    simulated = Fact(bool, False)
    calibrated = Fact(bool, True)


CardOf = TypeVar("CardOf", bound=Card)


@dataclass(frozen=True)
class Finished(Generic[CardOf]):
    """A finished artefact of one kind.

    Attributes:
        folder: Its folder.
        card: Its card.
    """

    folder: Path
    card: CardOf

    KIND: ClassVar[str]
    CARD: ClassVar[type[Card]]

    @classmethod
    def open(cls, folder: PathLike | Self) -> Self:
        """Open a folder; one that is open already is handed back.

        Raises:
            ArtefactError: If it is unfinished or damaged.
            MismatchError: If it holds another kind.
        """
        if isinstance(folder, cls):
            return folder
        folder = Path(cast("PathLike", folder))
        return cls(folder, cast(CardOf, cls.CARD(read_card(folder, cls.KIND))))


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside ``path``; move it into place if the block succeeds.

    A crash or an error leaves whatever was at ``path`` before, and no scratch file on error.

    Args:
        path: The file to write. Its folder is created.

    Yields:
        The path to write to; it keeps the suffix of ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent
    )
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        with scratch.open("rb") as written:
            os.fsync(written.fileno())
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, name):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; paths become strings, dataclasses become mappings."""
    text = json.dumps(content, indent=2, default=_plain, allow_nan=False)
    with atomic_path(path) as scratch:
        scratch.write_text(text + "\n", encoding="utf-8")


def for_json(value: Any) -> Any:  # noqa: ANN401 - any nesting of mappings, lists, numbers
    """Value with None for what is not a number."""
    if isinstance(value, Mapping):
        return {name: for_json(below) for name, below in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [for_json(below) for below in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ArtefactError: If the file is missing, or does not hold a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{path} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is not valid JSON ({error}); make it again") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content


def write_sealed(path: Path, content: bytes | memoryview) -> None:
    """Write a line with the sha256 of what follows it, then the content, atomically."""
    with atomic_path(path) as scratch, scratch.open("wb") as file:
        file.write(OPENING + hashlib.sha256(content).hexdigest().encode() + b"\n")
        file.write(content)


def read_sealed(path: Path) -> bytes:
    """The content that `write_sealed` wrote.

    Raises:
        ArtefactError: If it is not, byte for byte, what was written.
    """
    with path.open("rb") as file:
        opening, content = file.readline(len(OPENING) + 65), file.read()
    if not opening.startswith(OPENING):
        raise ArtefactError(f"{path} does not begin as a checkpoint does")
    if opening[len(OPENING) :].strip() != hashlib.sha256(content).hexdigest().encode():
        raise ArtefactError(f"the sha256 of {path} is not the one it was written with")
    return content


def sha256_of(path: Path) -> str:
    """The sha256 of a file, or of an artefact folder's card."""
    if path.is_dir():
        path = path / "card.json"
    if not path.exists():
        raise ArtefactError(f"{path} is missing: nothing to take a checksum of")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_card(
    folder: Path,
    kind: str,
    *,
    config: object = None,
    parents: Mapping[str, str] | None = None,
    **facts: object,
) -> Card:
    """Finish an artefact: write its ``card.json``, last of all its files.

    Args:
        folder: The artefact's folder.
        kind: What it is: ``encoder``, ``embeddings``, ``probe``, ``index``, ``map`` ...
        config: The resolved settings (a dataclass or a mapping).
        parents: Name of each parent artefact to its sha256.
        **facts: Whatever a reader of the artefact must know.

    Returns:
        The card as written.
    """
    card = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "made_by": f"ssl_photoz {__version__}",
        "revision": git_revision(),
        "versions": versions(),
        "config": config if config is not None else {},
        "parents": dict(parents or {}),
        **facts,
    }
    write_json(folder / "card.json", card)
    _release(folder)
    return Card(read_json(folder / "card.json"))


def read_card(folder: Path, *kinds: str) -> Card:
    """Read and check an artefact's card.

    Kinds and facts of a card written by an earlier version have the names of today.

    Args:
        folder: The artefact's folder.
        *kinds: The kind it must be, or several of which it must be one.

    Raises:
        ArtefactError: If there is no finished artefact, or its schema is newer than this code.
        MismatchError: If it is of another kind.
    """
    kinds = tuple(FORMER_KINDS.get(kind, kind) for kind in kinds)
    wanted = " or ".join(kinds)
    if not folder.is_dir():
        raise ArtefactError(f"{folder} is not a folder; expected a finished {wanted} artefact")
    if not (folder / "card.json").exists():
        raise ArtefactError(
            f"{folder} has no card.json: the {wanted} in it is unfinished or was never made; "
            f"run the command that makes it again"
        )
    said = read_json(folder / "card.json")
    card = Card({FORMER_FACTS.get(name, name): fact for name, fact in said.items()})
    card["kind"] = FORMER_KINDS.get(card.get("kind"), card.get("kind"))  # type: ignore[arg-type]
    if card["kind"] not in kinds:
        raise MismatchError(f"{folder} holds a {card.get('kind')!r} artefact, expected {wanted!r}")
    if not isinstance(card.get("schema_version"), int) or card["schema_version"] > SCHEMA_VERSION:
        raise ArtefactError(
            f"{folder} has card schema {card.get('schema_version')!r}, this version of ssl_photoz "
            f"reads up to {SCHEMA_VERSION}; upgrade ssl_photoz"
        )
    return card


def require_place(out: Path, *, folder: bool) -> None:
    """Refuse a place where nothing can be written; call it before the work.

    Args:
        out: What is to be written; nothing is made.
        folder: Whether it is to be a folder, or a file.

    Raises:
        ConfigError: If a file is where a folder is to be, or a folder where a file is to be, or if
            the folder around it cannot be written to.
    """
    if out.exists() and out.is_dir() != folder:
        found, wanted = ("a file", "a folder") if folder else ("a folder", "a file")
        raise ConfigError(f"out={out} is {found}, expected {wanted} to write; give another out=")
    place = out.absolute()
    above = next(p for p in ((place, *place.parents) if folder else place.parents) if p.exists())
    if not above.is_dir():
        raise ConfigError(f"out={out} lies below {above}, which is a file; give another out=")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(f"out={out}: no permission to write in {above}; give another out=")


def already_made(
    folder: Path,
    kind: str,
    *,
    config: object,
    parents: Mapping[str, str],
    ignore: Sequence[str] = (),
) -> bool:
    """Say whether a finished artefact made with just these settings is already there.

    Args:
        folder: Where the artefact would go.
        kind: Its kind.
        config: The settings it would be made with.
        parents: The parents it would be made from.
        ignore: Settings, or groups of them, that do not change the result (``out``,
            ``training.checkpoint_steps`` ...).

    Returns:
        True if it is there; False if the folder holds no finished artefact.

    Raises:
        ConfigError: If nothing can be written there.
        MismatchError: If a finished artefact made otherwise is in the way, or unfinished work of
            another kind.
    """
    require_place(folder, folder=True)
    if not (folder / "card.json").exists():
        _refuse_other_work(folder, kind)
        return False
    _require_same(folder, kind, read_card(folder, kind), config, parents, ignore)
    return True


def _refuse_other_work(folder: Path, kind: str) -> None:
    started = folder / "started.json"
    if not started.exists() or all(path.name in NO_WORK for path in folder.iterdir()):
        return
    if (other := read_json(started).get("kind")) != kind:
        raise MismatchError(
            f"{folder} holds unfinished {other} work, expected a folder for {kind}; give another "
            f"out=, or delete the folder"
        )


def begin(
    folder: Path,
    kind: str,
    *,
    config: object,
    parents: Mapping[str, str],
    ignore: Sequence[str] = (),
) -> bool:
    """Start an artefact that takes long, or go on with one that was interrupted.

    The settings are kept in ``started.json``, so that a run is never continued with other settings
    than it was begun with. A run that failed before it wrote more than its rejects does not count.
    From here on no other process may begin in the same folder, until the card is written or this
    process ends. Arguments are those of `already_made`; the folder is created.

    Returns:
        True if there is work to do, False if the finished artefact is already there.

    Raises:
        MismatchError: If the folder holds work, finished or not, made with other settings.
        ArtefactError: If another process is at work in the folder.
    """
    require_place(folder, folder=True)
    _claim(folder)
    try:
        if already_made(folder, kind, config=config, parents=parents, ignore=ignore):
            _release(folder)
            return False
        started = folder / "started.json"
        if started.exists() and any(path.name not in NO_WORK for path in folder.iterdir()):
            _require_same(folder, kind, read_json(started), config, parents, ignore)
        else:
            write_json(started, {"kind": kind, "config": config, "parents": dict(parents)})
    except BaseException:
        _release(folder)
        raise
    return True


@contextmanager
def claimed(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from working in a folder, which is made, whatever cards are written.

    Args:
        folder: The folder.
        shared: Whether other processes that share it may work there too: those of one run.

    Raises:
        ConfigError: If nothing can be written there.
        ArtefactError: If another process is at work in the folder.
    """
    require_place(folder, folder=True)
    _claim(folder, shared=shared)
    key = folder.resolve()
    _KEPT.add(key)
    try:
        yield
    finally:
        _KEPT.discard(key)
        _release(folder)


_CLAIMED: dict[Path, int] = {}
_KEPT: set[Path] = set()  # claimed beyond the card


def _claim(folder: Path, *, shared: bool = False) -> None:
    """Lock a folder for this process; where its file system knows no locks, go without."""
    try:
        import fcntl
    except ImportError:
        return
    folder.mkdir(parents=True, exist_ok=True)
    key = folder.resolve()
    if key in _CLAIMED:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ArtefactError(
            f"another process is at work in {folder}; wait for it, or give another out="
        ) from None
    except OSError:
        os.close(handle)
        return
    _CLAIMED[key] = handle


def _leave_to_parent() -> None:
    """Let a forked worker not keep what its parent, if that is killed, no longer holds."""
    for handle in _CLAIMED.values():
        os.close(handle)
    _CLAIMED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _release(folder: Path) -> None:
    if folder.resolve() in _KEPT:
        return
    handle = _CLAIMED.pop(folder.resolve(), None)
    if handle is not None:
        os.close(handle)


def _require_same(
    folder: Path,
    kind: str,
    made: Mapping[str, Any],
    config: object,
    parents: Mapping[str, str],
    ignore: Sequence[str],
) -> None:
    wanted = json.loads(json.dumps({"config": config, "parents": dict(parents)}, default=_plain))
    # A setting that is ignored, such as a path, may have the name of a parent, which never is.
    for part, word, ignored in (("config", "setting", ignore), ("parents", "parent", ())):
        before, now = (dict(_leaves(one[part])) for one in (made, wanted))
        for name in sorted(before.keys() | now.keys()):
            old, new = before.get(name), now.get(name)
            if old != new and not any(f"{name}.".startswith(f"{one}.") for one in ignored):
                raise MismatchError(
                    f"{folder} already holds {kind} work made with {word} {name} = {old!r}, asked "
                    f"for {new!r}; give another out=, or delete the folder"
                )


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a card cannot hold {type(value).__name__}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Those whose version can change a number.
LIBRARIES = (
    *("torch", "lightly", "pytorch-lightning", "timm", "numpy", "scikit-learn", "umap-learn"),
    *("faiss-gpu", "faiss-gpu-cu12", "faiss-cpu", "h5py", "pyarrow", "astropy", "galsim"),
)
GIT_SECONDS = 10


@cache
def versions() -> dict[str, str]:
    """Versions of the installed libraries, none of which is imported."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_revision(package: Path = Path(__file__).parent) -> str | None:
    """Commit that a package runs from, with ``-dirty`` behind if tracked files differ.

    None where it does not run from a git checkout of its own, or there is no git.

    Args:
        package: Folder of the package.
    """
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    if tracked is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
