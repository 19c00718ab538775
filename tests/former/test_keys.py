"""Verbs and keys of version 0.1 are read, or answered with what they are called now.

``keys_0_1.json`` was written by version 0.1: every verb, its keys, and the default of each.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_photoz import cli

KEYS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "keys_0_1.json").read_text(encoding="utf-8")
)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *groups, name = key.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return tree


def as_yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n")[0]


def test_the_list_is_whole() -> None:
    assert len(KEYS) == 32
    assert sum(map(len, KEYS.values())) == 528


@pytest.mark.parametrize(("verb", "key"), [(v, k) for v, keys in KEYS.items() for k in keys])
def test_a_key_is_read(verb: str, key: str) -> None:
    assert cli.keys_of(verb).has(key)


@pytest.mark.parametrize("verb", KEYS)
def test_a_yaml_with_every_default_is_read(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(nested(KEYS[verb])), encoding="utf-8")
    assert cli.parse(verb, [str(path)])


@pytest.mark.parametrize("verb", KEYS)
def test_every_default_can_be_typed(verb: str) -> None:
    typed = [f"{key}={as_yaml(value)}" for key, value in KEYS[verb].items()]
    assert cli.parse(verb, typed)
