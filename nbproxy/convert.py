"""A recording as a file for other programs: Parquet, CSV or Arrow, told by the file's ending."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from .errors import ConfigError

if TYPE_CHECKING:
    from .recording import Recording

What = Literal["exchanges", "hits"]
Opened = Callable[[Path, Any], Any]  # where to, and the rows' schema → what has write_table, as a context
ROWS = 16_384  # written at once


def convert(
    recording: Recording,
    path: str | Path,
    what: What = "exchanges",
    *,
    done: Callable[[int, int], None] = lambda _at, _of: None,
) -> int:
    """Write a recording's rows to one file.

    :param path: ``….parquet``, ``….csv``, ``….arrow`` or ``….feather``; one that is there is replaced.
    :param what: ``exchanges`` (``recording.frame``) or ``hits`` (``recording.hits``), all columns. In CSV a body is
        text, bytes that are not UTF-8 as ``\\xNN``.
    :param done: told how many rows of how many are written, for a progress bar.
    :returns: how many rows.
    :raises ConfigError: an unknown ending, or the file cannot be written.
    """
    target = Path(path)
    opened = WRITERS.get(target.suffix.lower())
    if opened is None:
        raise ConfigError(f"{target.name}: the file's ending says the format, one of {', '.join(WRITERS)}")
    table = pa.Table.from_pandas(recording.frame if what == "exchanges" else recording.hits, preserve_index=False)
    half = target.with_name(f".{target.name}.part")
    try:
        _write(table, opened, half, done)
        half.replace(target)
    except (OSError, pa.ArrowException) as error:
        half.unlink(missing_ok=True)
        raise ConfigError(f"{target} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    return int(table.num_rows)


def _write(table: Any, opened: Opened, path: Path, done: Callable[[int, int], None]) -> None:
    """A slice at a time: what a slice is made into is never there for the whole table."""
    shown = _texts if opened is _csv else lambda part: part
    done(0, table.num_rows)
    with opened(path, shown(table.schema.empty_table()).schema) as writer:
        for begin in range(0, table.num_rows, ROWS):
            part = table.slice(begin, ROWS)
            writer.write_table(shown(part))
            done(begin + part.num_rows, table.num_rows)


def _parquet(path: Path, schema: Any) -> Any:
    from pyarrow import parquet

    return parquet.ParquetWriter(path, schema, compression="zstd")


def _csv(path: Path, schema: Any) -> Any:
    from pyarrow import csv

    return csv.CSVWriter(path, schema)


def _arrow(path: Path, schema: Any) -> Any:
    return pa.ipc.new_file(str(path), schema)


def _texts(table: Any) -> Any:
    """Bodies as text: CSV knows no bytes."""
    for place, column in enumerate(table.schema):
        if pa.types.is_large_binary(column.type) or pa.types.is_binary(column.type):
            chunks = [_decoded(chunk) for chunk in table.column(place).chunks]
            table = table.set_column(place, column.name, pa.chunked_array(chunks, pa.large_string()))
    return table


def _decoded(chunk: Any) -> Any:
    try:
        return pc.cast(chunk, pa.large_string())
    except pa.ArrowInvalid:  # not all of it is UTF-8
        shown = [None if body is None else body.decode("utf-8", "backslashreplace") for body in chunk.to_pylist()]
        return pa.array(shown, pa.large_string())


WRITERS: Mapping[str, Opened] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".arrow": _arrow,
    ".feather": _arrow,
}
