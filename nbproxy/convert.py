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


def convert(recording: Recording, path: str | Path, what: What = "exchanges") -> int:
    """Write a recording's rows to one file.

    :param path: ``….parquet``, ``….csv``, ``….arrow`` or ``….feather``; one that is there is replaced.
    :param what: ``exchanges`` (``recording.frame``) or ``hits`` (``recording.hits``), all columns. In CSV a body is
        text, bytes that are not UTF-8 as ``\\xNN``.
    :returns: how many rows.
    :raises ConfigError: an unknown ending, or the file cannot be written.
    """
    target = Path(path)
    write = WRITERS.get(target.suffix.lower())
    if write is None:
        raise ConfigError(f"{target.name}: the file's ending says the format, one of {', '.join(WRITERS)}")
    frame = recording.frame if what == "exchanges" else recording.hits
    table = pa.Table.from_pandas(frame, preserve_index=False)
    half = target.with_name(f".{target.name}.part")
    try:
        write(table, half)
        half.replace(target)
    except (OSError, pa.ArrowException) as error:
        half.unlink(missing_ok=True)
        raise ConfigError(f"{target} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    return int(table.num_rows)


def _parquet(table: Any, path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(table, path, compression="zstd")


def _csv(table: Any, path: Path) -> None:
    from pyarrow import csv

    csv.write_csv(_texts(table), path)


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


def _arrow(table: Any, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


WRITERS: Mapping[str, Callable[[Any, Path], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".arrow": _arrow,
    ".feather": _arrow,
}
