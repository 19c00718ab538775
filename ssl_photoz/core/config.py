"""From YAML and ``key=value`` to the arguments of a function, checked.

A verb of the command line is a public function; its parameters are the keys. A parameter that is a
frozen dataclass is a group of keys with a dot, ``moco.temperature``. Any key may be shortened to
its last words where these fit no other: ``temperature``. jsonargparse does the typing and the help.
"""

from __future__ import annotations

import builtins
import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ssl_photoz.core.errors import ConfigError


def parse(
    function: Callable[..., object],
    arguments: Sequence[str],
    *,
    prog: str,
    keys: Keys | None = None,
) -> dict[str, Any]:
    """Read the arguments of a function from a command line.

    Args:
        function: What is to be called; its docstring is the help text.
        arguments: YAML files and ``key=value`` (``--key=value`` too), where a later one overrides
            an earlier one, or ``--help``. Any other bare word is the value of the first parameter.
        prog: The command's name in the help text.
        keys: The keys that it takes; those of the function by default.

    Returns:
        Keyword arguments; groups are instances of their dataclasses, which check themselves.

    Raises:
        ConfigError: If a file cannot be read, a key is unknown, or a value does not fit.
    """
    from jsonargparse import ArgumentParser

    settings = _as_dataclass(function)
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} [CONFIG.yaml] [key=value ...]",
        description=summary_of(function),
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="same as naming the YAML first")
    parser.add_class_arguments(settings, None)
    keys = keys or Keys(keys_of(function))
    try:
        built = parser.instantiate(parser.parse_args(list(_flags(keys, arguments))))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{prog}: {_one_line(error)}; see {prog} --help") from None
    except Exception as error:
        if type(error).__name__ == "ArgumentError":
            raise ConfigError(f"{prog}: {_one_line(error)}; see {prog} --help") from None
        raise
    return {field.name: _at_home(built[field.name]) for field in dataclasses.fields(settings)}


def summary_of(function: Callable[..., object]) -> str:
    """First line of a docstring."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def keys_of(function: Callable[..., object]) -> dict[str, bool]:
    """Every dotted key of a function, or a dataclass; the value says whether it is a group."""
    settings = _as_dataclass(function)
    hints = typing.get_type_hints(settings)
    keys: dict[str, bool] = {}
    for field in dataclasses.fields(settings):
        kind = hints[field.name]
        group = dataclasses.is_dataclass(kind)
        keys[field.name] = group
        if group:
            below = keys_of(typing.cast(Any, kind))
            keys |= {f"{field.name}.{key}": is_group for key, is_group in below.items()}
    return keys


def default_of(function: Callable[..., object], key: str) -> object:
    """Default of a function's parameter, or by its dotted key of a field below it."""
    first, *below = key.split(".")
    value = inspect.signature(function).parameters[first].default
    for name in below:
        value = getattr(value, name)
    return value


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; no tags, no code.

    Raises:
        ConfigError: If the file is missing, unreadable, or not a mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config file {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {_one_line(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}, expected keys and values")
    return content


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys that a command takes, and how what users type becomes one of them.

    Attributes:
        known: Dotted keys, and whether each is a group.
        renamed: Keys of earlier versions and what they are called now.
        tell: Called with a line about each key of an earlier version.
    """

    known: Mapping[str, bool]
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tell: Callable[[str], None] = lambda _: None

    @property
    def first(self) -> str:
        """The first parameter."""
        return next(iter(self.known))

    def resolve(self, key: str, *, where: str) -> str:
        """Full name of a key that may be shortened or of an earlier version.

        Raises:
            ConfigError: If there is no such key, or several end alike.
        """
        now = self._renamed(key)
        if now in self.known:
            return now
        alike = [one for one in self.known if one.endswith(f".{now}")]
        if len(alike) == 1:
            return alike[0]
        if alike:
            raise ConfigError(f"{key!r} in {where} may be {' or '.join(alike)}; give it in full")
        top = [one for one in self.known if "." not in one]
        leaves = [one for one in self.known if one.rpartition(".")[2] == key.rpartition(".")[2]]
        near = leaves or difflib.get_close_matches(key, self.known, n=1, cutoff=0.4) or sorted(top)
        raise ConfigError(f"unknown key {key!r} in {where}; nearest valid: {', '.join(near)}")

    def has(self, key: str) -> bool:
        """Whether a key would be understood."""
        try:
            return bool(self.resolve(key, where=""))
        except ConfigError:
            return False

    def flat(self, given: Mapping[Any, Any], *, where: str, above: str = "") -> dict[str, Any]:
        """Values of a YAML by their full keys.

        Raises:
            ConfigError: If a key is unknown.
        """
        values: dict[str, Any] = {}
        for name, value in given.items():
            key = self.resolve(f"{above}{name}", where=where)
            if self.known[key] and isinstance(value, Mapping):
                values |= self.flat(value, where=where, above=f"{key}.")
            else:
                values[key] = value
        return values

    def _renamed(self, key: str) -> str:
        for old, new in self.renamed.items():
            if key == old or key.startswith(f"{old}."):
                now = new + key[len(old) :]
                self.tell(f"{key} is now {now}")
                return self._renamed(now)
        return key


def _flags(keys: Keys, arguments: Sequence[str]) -> Iterator[str]:
    """Translate what users type into jsonargparse's flags, refusing unknown keys."""
    for argument in _as_read_as(arguments) if "read_as" in keys.known else arguments:
        if argument in ("-h", "--help") or argument.startswith("--print_config"):
            yield argument
            continue
        key, equals, value = argument.removeprefix("--").partition("=")
        if not equals and argument.endswith((".yaml", ".yml")):
            key, value = "config", argument
        elif not equals and argument.startswith("-"):
            raise ConfigError(f"got {argument!r}, expected a .yaml file or key=value")
        elif not equals or _is_path(argument, key, keys):
            key, value = keys.first, argument
        if key != "config":
            yield f"--{keys.resolve(key, where='command line')}={value}"
        elif content := keys.flat(load_yaml(Path(value).expanduser()), where=value):
            yield f"--config={_as_yaml(content)}"


def _is_path(argument: str, key: str, keys: Keys) -> bool:
    """Whether a bare word with an equals sign is a path, ``hats/Norder=3`` or a file ``z=1.h5``."""
    return "/" in key or (not keys.has(key) and Path(argument).expanduser().exists())


def _at_home(value: Any) -> Any:  # noqa: ANN401 - any value of a parameter
    """Put the user's home folder for the ``~`` of paths, which no shell has seen in a YAML."""
    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, tuple | list):
        return type(value)(map(_at_home, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        homes = {name: _at_home(getattr(value, name)) for name in fields}
        changed = {name: home for name, home in homes.items() if home != getattr(value, name)}
        return dataclasses.replace(value, **changed) if changed else value
    return value


def _as_yaml(content: Mapping[str, Any]) -> str:
    """Dotted keys and values as the text of a YAML with groups."""
    import yaml

    nested: dict[str, Any] = {}
    for key, value in content.items():
        *groups, name = key.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return yaml.safe_dump(nested, default_flow_style=True, width=10**6)


def _as_read_as(arguments: Sequence[str]) -> Iterator[str]:
    """Take ``--as NAME`` for ``read_as=NAME``; a parameter cannot have the name of a keyword."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--as":
            yield f"read_as={next(rest, '')}"
        else:
            yield f"read_as={argument[5:]}" if argument.startswith("--as=") else argument


def _as_dataclass(function: Callable[..., object]) -> type[Any]:
    """Dataclass whose fields are the parameters of a function, with types that text can give."""
    if isinstance(function, type) and dataclasses.is_dataclass(function):
        _resolve_annotations(function)
        return function
    hints = _textual_hints(inspect.unwrap(function))
    fields: list[Any] = []
    for name, parameter in inspect.signature(function).parameters.items():
        _resolve_annotations(hints[name])
        if parameter.default is parameter.empty:
            fields.append((name, hints[name]))
        else:
            default = dataclasses.field(default_factory=partial(_itself, parameter.default))
            fields.append((name, hints[name], default))
    made = dataclasses.make_dataclass(function.__name__, fields, frozen=True, kw_only=True)
    made.__doc__ = inspect.getdoc(function)
    return made


def _itself(value: object) -> object:
    return value


class _NotAsText:
    """A type that is known to type checkers only: no command line can give such an object."""


def _textual_hints(function: Callable[..., object]) -> dict[str, Any]:
    """Types of parameters; of ``str | Path | Encoder`` a command line can give a path."""

    class Names(dict[str, Any]):
        def __missing__(self, name: str) -> object:
            known = getattr(function, "__globals__", {})
            return known.get(name, getattr(builtins, name, _NotAsText))

    annotations = {k: v for k, v in function.__annotations__.items() if k != "return"}
    stand_in = types.SimpleNamespace(__annotations__=annotations)
    hints = typing.get_type_hints(stand_in, globalns={}, localns=Names())
    return {name: _without_objects(kind) for name, kind in hints.items()}


def _without_objects(kind: Any) -> Any:  # noqa: ANN401 - any type
    if typing.get_origin(kind) is tuple:
        return tuple[tuple(map(_without_objects, typing.get_args(kind)))]  # type: ignore[misc]
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    members = [one for one in typing.get_args(kind) if one is not _NotAsText]
    if Path in members:
        members = [one for one in members if one is not str]
    return typing.Union[tuple(members)]  # noqa: UP007 - members are not known beforehand


def _resolve_annotations(settings: object) -> None:
    """Turn annotations of a dataclass that are text into types.

    For text, jsonargparse would run the ``TYPE_CHECKING`` imports of the module: seconds of torch.
    """
    if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
        return
    hints = typing.get_type_hints(settings)
    settings.__init__.__annotations__.update(hints)
    for kind in hints.values():
        _resolve_annotations(kind)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
