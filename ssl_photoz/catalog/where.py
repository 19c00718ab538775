"""Which galaxies may be answers: conditions on catalogue columns and on the sky, from text.

    mag_r < 20 and 0.01 < z < 0.05 and split == test and cone(150.1, 2.2, 1.5)

The text is taken apart by the small grammar here; nothing in it is ever run as code.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np

from ssl_photoz.catalog.sky import (
    CELL_RADIUS_DEG,
    CELLS,
    cell_centres,
    chord_of,
    sphere_points,
)
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Bools, Ints

Columns = Callable[[str], Array]
Value = int | float | str

SIGNS: dict[str, Callable[[Array, Value], Array]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "=": "=", "!=": "!="}
TOKEN = re.compile(
    r"""\s*(?: (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\w)
             | (?P<and>and\b)
             | (?P<word>[A-Za-z_]\w*)
             | (?P<text>'[^']*'|"[^"]*")
             | (?P<sign><=|>=|==|!=|=|<|>)
             | (?P<open>\() | (?P<comma>,) | (?P<close>\))
             | (?P<end>$) )""",
    re.VERBOSE | re.IGNORECASE,
)
EXPECTED = (
    "conditions such as mag_r < 20, 0.01 < z < 0.05, split == test, cone(ra, dec, radius) or "
    "box(ra_min, ra_max, dec_min, dec_max), all in degrees, joined by `and`"
)


class Condition(Protocol):
    """Something that a galaxy fulfils or not; an unknown value (NaN) fulfils nothing."""

    def mask(self, column: Columns) -> Bools:
        """Say which galaxies fulfil it, shape (N,), given a way to their columns."""
        ...


class Comparison(NamedTuple):
    """A column compared with a number or, for equality, with text."""

    column: str
    sign: str
    value: Value

    def __str__(self) -> str:
        return f"{self.column} {self.sign} {self.value}"

    def mask(self, column: Columns) -> Bools:
        """Say where the comparison holds, shape (N,)."""
        values, is_text = column(self.column), isinstance(self.value, str)
        known = np.array(values == values, bool)
        if values.dtype == object:
            known &= np.array([one is not None for one in values], bool)
        whole = values.dtype == object and all(isinstance(v, int) for v in values[known].tolist())
        holds_text = values.dtype.kind not in "biuf" and not (whole and known.any())
        if is_text != holds_text or (is_text and self.sign not in ("=", "==", "!=")):
            raise ConfigError(
                f"where: {self} does not fit column {self.column}, which holds "
                f"{'text: compare it by == or != with a word' if holds_text else 'numbers'}"
            )
        held = np.zeros(len(values), bool)
        some = values[known]
        some = some.astype(str) if holds_text else some
        held[known] = np.asarray(SIGNS[self.sign](some, self.value), bool)
        return held


class Cone(NamedTuple):
    """Within a radius of a position, all in degrees."""

    ra: float
    dec: float
    radius: float

    def __str__(self) -> str:
        return f"cone({self.ra:g}, {self.dec:g}, {self.radius:g})"

    def mask(self, column: Columns) -> Bools:
        """Say which galaxies are inside, shape (N,)."""
        points = sphere_points(column("ra"), column("dec"))
        centre = sphere_points(np.array(self.ra), np.array(self.dec))
        inside: Bools = np.linalg.norm(points - centre, axis=1) <= chord_of(3600 * self.radius)
        return inside

    def cells(self) -> Bools:
        """Which cells of the sky it may touch, shape (`CELLS`,)."""
        wider = Cone(self.ra, self.dec, min(self.radius + CELL_RADIUS_DEG, 180))
        return wider.mask(dict(zip(("ra", "dec"), cell_centres(), strict=True)).__getitem__)


class Box(NamedTuple):
    """From ra_min eastwards to ra_max, also across RA 0, and between declinations; degrees."""

    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float

    def __str__(self) -> str:
        return f"box({self.ra_min:g}, {self.ra_max:g}, {self.dec_min:g}, {self.dec_max:g})"

    def mask(self, column: Columns) -> Bools:
        """Say which galaxies are inside, shape (N,)."""
        ra, dec = column("ra"), column("dec")
        width = self.ra_max - self.ra_min
        east = np.full(len(ra), True) if width >= 360 else (ra - self.ra_min) % 360 <= width % 360
        inside: Bools = east & (dec >= self.dec_min) & (dec <= self.dec_max)
        return inside

    def cells(self) -> Bools:
        """Which cells of the sky it may touch, shape (`CELLS`,)."""
        ra, dec = cell_centres()
        touched = (dec >= self.dec_min - CELL_RADIUS_DEG) & (dec <= self.dec_max + CELL_RADIUS_DEG)
        width = (self.ra_max - self.ra_min) % 360
        if self.ra_max - self.ra_min >= 360:
            return touched
        # How far a cell reaches in RA; one that reaches over a pole lies at every RA.
        with np.errstate(invalid="ignore"):
            sine = np.sin(np.radians(CELL_RADIUS_DEG)) / np.cos(np.radians(dec))
            reach = np.where(sine < 1, np.degrees(np.arcsin(np.minimum(sine, 1))), 360)
        inside: Bools = (ra - self.ra_min + reach) % 360 <= width + 2 * reach
        return touched & inside


REGIONS = {"cone": Cone, "box": Box}


def parse_where(text: str) -> list[Condition]:
    """Take a filter apart.

    Args:
        text: Conditions joined by ``and``: comparisons of a column with a number (also two-sided)
            or with text, ``cone(ra, dec, radius)`` and ``box(ra_min, ra_max, dec_min, dec_max)``
            in degrees. A box whose ra_min exceeds its ra_max lies across RA 0.

    Returns:
        The conditions; all must hold.

    Raises:
        ConfigError: If the text is anything else; says where it stops making sense.
    """
    return _Reader(text).conditions()


def rows_where(text: str, column: Columns) -> Ints:
    """Rows that fulfil a filter, increasing.

    Args:
        text: Filter, as `parse_where` takes it.
        column: Gives a column of the catalogue, shape (N,), by its name.

    Raises:
        ConfigError: If the text is no filter, or compares a column with what it does not hold.
        DataError: If no galaxy is left; says how many fulfil each condition alone.
    """
    return rows_where_in(text, [(0, column)])


def rows_where_in(text: str, parts: Iterable[tuple[int, Columns]]) -> Ints:
    """Rows of some parts of a catalogue that fulfil a filter, increasing; a part at a time.

    Args:
        text: Filter, as `parse_where` takes it.
        parts: First row of each part, increasing, and what gives its columns.

    Raises:
        ConfigError: If the text is no filter, or compares a column with what it does not hold.
        DataError: If no galaxy is left; says how many fulfil each condition alone.
    """
    conditions = parse_where(text)
    passed, looked_at, alone = [np.empty(0, np.int64)], 0, np.zeros(len(conditions), np.int64)
    for first, column in parts:
        masks = [condition.mask(column) for condition in conditions]
        passed.append(first + np.flatnonzero(np.logical_and.reduce(masks)))
        looked_at += len(masks[0])
        alone += [int(mask.sum()) for mask in masks]
    rows = np.concatenate(passed)
    if not len(rows):
        have = (f"{n} have {one}" for one, n in zip(conditions, alone.tolist(), strict=True))
        raise DataError(f"no galaxy of {looked_at} passes where={text!r}: {', '.join(have)}")
    return rows


def cells_where(text: str) -> Bools:
    """Cells of the sky that galaxies which fulfil a filter may lie in, shape (`CELLS`,).

    Raises:
        ConfigError: If the text is no filter.
    """
    touched = np.ones(CELLS, bool)
    for condition in parse_where(text):
        if isinstance(condition, Cone | Box):
            touched &= condition.cells()
    return touched


class _Reader:
    """Reads a filter from left to right, a token at a time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, *kinds: str) -> str | None:
        """Next token, taken, if it is of one of these kinds."""
        found = TOKEN.match(self.text, self.at)
        if found is None or found.lastgroup not in kinds:
            return None
        self.at = found.end()
        return found[found.lastgroup]

    def need(self, expected: str, *kinds: str) -> str:
        """Next token, taken, which must be of one of these kinds."""
        token = self.take(*kinds)
        if token is None:
            rest = self.text[self.at :].strip()
            got = f"got {rest!r}" if rest else "the text ends there"
            raise ConfigError(f"where={self.text!r}: expected {expected}; {got}")
        return token

    def conditions(self) -> list[Condition]:
        found = self.condition()
        while self.take("end") is None:
            self.need("`and` or the end", "and")
            found += self.condition()
        return found

    def condition(self) -> list[Condition]:
        number = self.take("number")
        if number is not None:
            sign = self.need("a comparison", "sign")
            column = self.need("the name of a column", "word")
            low = Comparison(column, MIRRORED[sign], _number(number))
            second = self.take("sign")
            if second is None:
                return [low]
            return [low, Comparison(column, second, _number(self.need("a number", "number")))]
        word = self.need(EXPECTED, "word")
        if word.lower() in REGIONS and self.take("open"):
            return [self.region(word.lower())]
        sign = self.need("a comparison or, for a sky region, a bracket", "sign")
        number = self.take("number")
        if number is not None:
            return [Comparison(word, sign, _number(number))]
        return [Comparison(word, sign, self.need("a number or text", "word", "text").strip("'\""))]

    def region(self, name: str) -> Condition:
        if name == "cone":
            ra, dec, radius = self.degrees(3)
            if _on_sky(ra, dec) and 0 < radius <= 180:
                return Cone(ra, dec, radius)
            expected = "RA from 0 to 360, Dec from -90 to 90 and a radius above 0"
        else:
            ra_min, ra_max, dec_min, dec_max = self.degrees(4)
            if _on_sky(ra_min, dec_min) and _on_sky(ra_max, dec_max) and dec_min < dec_max:
                return Box(ra_min, ra_max, dec_min, dec_max)
            expected = "RA from 0 to 360, and Dec from -90 to 90 with dec_min < dec_max"
        raise ConfigError(f"where={self.text!r}: expected in {name}() {expected}, in degrees")

    def degrees(self, count: int) -> list[float]:
        values = [float(self.need("a number of degrees", "number"))]
        for _ in range(count - 1):
            self.need(f"a comma: {count} numbers, in degrees", "comma")
            values.append(float(self.need("a number of degrees", "number")))
        self.need(f"a closing bracket after {count} numbers", "close")
        return values


def _number(token: str) -> int | float:
    """Keep whole numbers whole: an id of 17 digits is no float."""
    whole = token.lstrip("+-").isdigit() and len(token) < 20
    return int(token) if whole else float(token)


def _on_sky(ra: float, dec: float) -> bool:
    return 0 <= ra <= 360 and -90 <= dec <= 90
