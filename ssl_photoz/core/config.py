"""From YAML and ``key=value`` overrides to one frozen dataclass, checked.

jsonargparse does the typing and the help; this file adds what users type
(``ssl-photoz pretrain configs/demo.yaml moco.temperature=0.2``) and the nearest valid
name when a key is unknown.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ssl_photoz.core.errors import ConfigError

T = TypeVar("T")


def parse(settings: type[T], arguments: Sequence[str], *, prog: str, description: str = "") -> T:
    """Build settings from command-line arguments.

    Args:
        settings: A frozen dataclass; nested dataclasses become dotted keys.
        arguments: At most one YAML path, then ``key=value`` overrides (``--key=value`` too),
            or ``--help``. Any other bare word is the value of the first setting.
        prog: The command's name in the help text.
        description: First line of the help text.

    Returns:
        The settings, validated by their own ``__post_init__``.

    Raises:
        ConfigError: If a file cannot be read, a key is unknown, or a value does not fit.
    """
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} [CONFIG.yaml] [key=value ...]",
        description=description,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="same as naming the YAML first")
    _resolve_annotations(settings)
    parser.add_class_arguments(settings, None)
    try:
        parsed = parser.parse_args(list(_flags(settings, arguments)))
        built = parser.instantiate(parsed)
        values = {field.name: built[field.name] for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
        return settings(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{prog}: {_one_line(error)}; see {prog} --help") from None
    except Exception as error:
        if type(error).__name__ == "ArgumentError":
            raise ConfigError(f"{prog}: {_one_line(error)}; see {prog} --help") from None
        raise


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


def keys_of(settings: type) -> dict[str, bool]:
    """Return every dotted key of a settings class; the value says whether it is a group."""
    keys: dict[str, bool] = {}
    hints = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        kind = hints[field.name]
        group = dataclasses.is_dataclass(kind)
        keys[field.name] = group
        if group:
            keys |= {f"{field.name}.{key}": below for key, below in keys_of(kind).items()}
    return keys


def _resolve_annotations(settings: type) -> None:
    """Turn annotations that are text into types.

    For text, jsonargparse would run the ``TYPE_CHECKING`` imports of the module: seconds of torch.
    """
    hints = typing.get_type_hints(settings)
    settings.__init__.__annotations__.update(hints)  # type: ignore[misc]
    for kind in hints.values():
        if dataclasses.is_dataclass(kind):
            _resolve_annotations(typing.cast(type, kind))


def _flags(settings: type, arguments: Sequence[str]) -> Iterator[str]:
    """Translate what users type into jsonargparse's flags, refusing unknown keys."""
    known = keys_of(settings)
    for argument in _as_read_as(arguments) if "read_as" in known else arguments:
        if argument in ("-h", "--help") or argument.startswith("--print_config"):
            yield argument
            continue
        key, equals, value = argument.removeprefix("--").partition("=")
        if not equals and argument.endswith((".yaml", ".yml")):
            key, value = "config", argument
        elif not equals and argument.startswith("-"):
            raise ConfigError(f"got {argument!r}, expected a .yaml file or key=value")
        elif not equals:
            key, value = next(iter(known)), argument
        if key == "config":
            content = load_yaml(Path(value))
            _refuse_unknown(content, known, where=value)
            if not content:
                continue
        else:
            _refuse_unknown({key: value}, known, where="command line")
        yield f"--{key}={value}"


def _as_read_as(arguments: Sequence[str]) -> Iterator[str]:
    """Take ``--as NAME`` for ``read_as=NAME``; a field cannot have the name of a keyword."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--as":
            yield f"read_as={next(rest, '')}"
        else:
            yield f"read_as={argument[5:]}" if argument.startswith("--as=") else argument


def _refuse_unknown(
    given: Mapping[str, Any], known: Mapping[str, bool], *, where: str, above: str = ""
) -> None:
    for name, value in given.items():
        key = f"{above}{name}"
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            leaf = [k for k in known if k.rpartition(".")[2] == str(name)]
            hint = leaf or near or sorted(k for k in known if "." not in k)
            raise ConfigError(f"unknown key {key!r} in {where}; nearest valid: {', '.join(hint)}")
        if known[key] and isinstance(value, Mapping):
            _refuse_unknown(value, known, where=where, above=f"{key}.")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
