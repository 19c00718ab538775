"""Pixels in Arrow's nested lists, as a plain array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_photoz.core.types import Array


def shape_of_first(column: pa.Array) -> tuple[int, ...]:
    """Lengths of the nested lists of the first row; lists of structs count as lists."""
    lengths: list[int] = []
    level = column.slice(0, 1)
    while True:
        level = _out_of_struct(level)
        if not _is_list(level.type):
            return tuple(lengths)
        first = pc.list_value_length(level)[0].as_py() if len(level) else None
        lengths.append(first or 0)
        level = level.flatten()


def number_type(column: pa.Array) -> np.dtype[Any]:
    """Type of the numbers in nested lists."""
    level = _out_of_struct(column)
    while _is_list(level.type):
        level = _out_of_struct(level.flatten())
    found: np.dtype[Any] = np.dtype(level.type.to_pandas_dtype())
    return found


def as_array(column: pa.Array, shape: tuple[int, ...]) -> Array:
    """Nested lists of numbers as (rows, *shape), without copying where Arrow allows it.

    Raises:
        ValueError: If some list has another length, or something is missing.
    """
    level, rows = column, len(column)
    for length in shape:
        level = _out_of_struct(level)
        lengths = pc.list_value_length(level)
        if level.null_count or not pc.all(pc.equal(lengths, length)).as_py():
            raise ValueError(f"lists of other lengths than {shape}")
        level = level.flatten()
    level = _out_of_struct(level)
    if level.null_count or len(level) != rows * int(np.prod(shape)):
        raise ValueError("missing values")
    values: Array = level.to_numpy(zero_copy_only=False)
    return values.reshape(rows, *shape)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _out_of_struct(level: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
    while pa.types.is_struct(level.type):
        level = level.field(0)
    return level.storage if isinstance(level, pa.ExtensionArray) else level
