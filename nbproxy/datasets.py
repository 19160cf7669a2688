"""Judged collections from disk: the packaged one, and any in BEIR's, TREC's or SMART's formats. No downloads.

Laws:

- What a file is *for* (documents, queries, qrels) is told by its name, from the table ``_NAMES``, or said by the
  caller; what *format* it has is told by its first characters, from the table of its role. So formats may be mixed.
- Ids are strings, and stay as they are written.
- What cannot be read is a :class:`~nbproxy.errors.ConfigError` that names the file and the line; nothing is skipped.

>>> household = load("household")
>>> list(household.queries.columns)
['query_id', 'query']
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .collection_formats import DOCUMENTS, QUERIES, Row, bad, json_lines, lines, read, text_of
from .errors import ConfigError

Grades = Mapping[float, float] | Callable[[float], float]

# Cranfield's scale as it came (1 is the best, 4 the least, 5 and -1: not relevant), as gains.
CRANFIELD_GRADES: Mapping[float, float] = {1: 4, 2: 3, 3: 2, 4: 1, 5: 0, -1: 0}

_NAMES: Mapping[str, tuple[str, ...]] = {  # the first pattern that any file has; case is ignored
    "documents": (
        "corpus.jsonl",
        "documents.jsonl",
        "docs.jsonl",
        "docs/*",
        "documents/*",
        "docs*",
        "documents*",
        "*.trec",
        "*.sgml",
        "*.all",
        "*.all.*",
        "corpus*",
    ),
    "queries": ("queries.jsonl", "topics*", "*topics*", "queries*", "*.qry", "*.que", "query*"),
    "qrels": ("qrels/*.tsv", "qrels/*", "qrels.tsv", "qrels*", "*qrels*", "*qrel", "*.rel"),
}
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "documents": ("doc_id", "title", "text"),
    "queries": ("query_id", "query"),
    "qrels": ("query_id", "doc_id", "relevance"),
}
_HEADS: Mapping[str, str] = {
    **dict.fromkeys(("query-id", "query_id", "qid", "query", "topic"), "query_id"),
    **dict.fromkeys(("corpus-id", "corpus_id", "doc-id", "doc_id", "docid", "docno", "doc"), "doc_id"),
    **dict.fromkeys(("score", "relevance", "rel", "grade", "rating", "label"), "relevance"),
}


@dataclass(frozen=True, repr=False)
class Collection:
    """What was judged, as three DataFrames; ids are strings.

    :ivar documents: ``doc_id, title, text``, then the other fields that the files have.
    :ivar queries: ``query_id, query``.
    :ivar qrels: ``query_id, doc_id, relevance`` (int, or float where the file has fractions).
    """

    documents: pd.DataFrame
    queries: pd.DataFrame
    qrels: pd.DataFrame

    def __repr__(self) -> str:
        sizes = (f"{len(frame):,} {name}" for name, frame in vars(self).items())
        return f"<Collection: {', '.join(sizes)}>"


def names() -> list[str]:
    """The packaged collections.

    >>> names()
    ['household']
    """
    return sorted(folder.name for folder in _home().glob("*") if (folder / "corpus.jsonl").is_file())


def load(
    path_or_name: str | Path | None = None,
    *,
    documents: str | Path | None = None,
    queries: str | Path | None = None,
    qrels: str | Path | None = None,
    split: str | None = None,
    grades: Grades | None = None,
    topic: str = "title",
) -> Collection:
    """A judged collection.

    :param path_or_name: a packaged one's name (see :func:`names`), or a folder: BEIR (``corpus.jsonl``,
        ``queries.jsonl``, ``qrels/*.tsv``, each also as ``.gz``), TREC (``<DOC>``, ``<top>`` or lines of id and text,
        ``qid iter docid rel``) or SMART (``.I .T .A .B .W``; its queries are numbered by their place in the file).
    :param documents: a file, instead of the one found in the folder; likewise ``queries`` and ``qrels``. Two of these
        are enough without a folder; ``documents`` is an empty frame where there are none.
    :param split: which file of ``qrels/``; None: the only one, or ``test``. Where there are several, only the split's
        queries are returned.
    :param grades: from a file's scale to ours (higher is better): a mapping or a function, such as
        ``CRANFIELD_GRADES``.
    :param topic: what of a TREC topic is the query: ``title``, ``desc`` or ``narr``.
    :raises ConfigError: there is nothing to read, or it cannot be read; the message names file and line.
    """
    folder = None if path_or_name is None else _folder(path_or_name)
    given = {"documents": documents, "queries": queries, "qrels": qrels}
    files = {role: [Path(p)] if p is not None else _find(folder, role, split) for role, p in given.items()}
    _require(files, folder)
    several = qrels is None and folder is not None and len(_matching(folder, "qrels")) > 1
    judged = _qrels(files["qrels"][0], grades)
    asked = _frame("queries", read(files["queries"][0], QUERIES, topic), files["queries"][0])
    if several:
        asked = asked[asked["query_id"].isin(judged["query_id"])].reset_index(drop=True)
    return Collection(_documents(files["documents"]), asked, judged)


def read_qrels(path: str | Path, grades: Grades | None = None) -> pd.DataFrame:
    """Judgments alone: ``query_id, doc_id, relevance``, from lines as TREC or BEIR have them, or from JSON lines.

    :raises ConfigError: the file cannot be read; the message names the line.
    """
    return _qrels(Path(path), grades)


def read_queries(path: str | Path, topic: str = "title") -> pd.DataFrame:
    """Queries alone: ``query_id, query``, in any format that :func:`load` reads.

    :raises ConfigError: the file cannot be read; the message names the line.
    """
    return _frame("queries", read(Path(path), QUERIES, topic), Path(path))


# -- finding files


def _home() -> Path:
    """Where the packaged collections are: in the wheel beside the modules, in a checkout beside the package."""
    here = Path(__file__).resolve().parent
    in_checkout = (here.parent / "pyproject.toml").is_file()
    return here.parent / "datasets" if in_checkout else here / "_collections"


def _folder(path_or_name: str | Path) -> Path:
    if isinstance(path_or_name, str) and path_or_name in names():
        return _home() / path_or_name
    folder = Path(path_or_name).expanduser()
    if folder.is_dir():
        return folder
    close = difflib.get_close_matches(str(path_or_name), names(), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    what = "is a file, give its folder, or documents=, queries=, qrels=" if folder.exists() else "is no folder here"
    raise ConfigError(f"{str(path_or_name)!r} {what}, and no packaged collection ({', '.join(names())}){hint}")


def _matching(folder: Path, role: str) -> list[Path]:
    """The files of the first of the role's patterns that any file has."""
    files = [path for path in sorted([*folder.glob("*"), *folder.glob("*/*")]) if path.is_file()]
    for pattern in _NAMES[role]:
        found = [path for path in files if _fits(path.relative_to(folder), pattern)]
        if found:
            return found
    return []


def _fits(path: Path, pattern: str) -> bool:
    plain = Path(path.as_posix().lower().removesuffix(".gz"))
    hidden = path.name.startswith((".", "README", "LICENSE"))
    return not hidden and len(path.parts) == len(Path(pattern).parts) and plain.match(pattern)


def _find(folder: Path | None, role: str, split: str | None) -> list[Path]:
    """The files of a role: all that hold documents, one of the others."""
    found = _matching(folder, role) if folder else []
    if role == "documents" or not found:
        return found
    return [_chosen(found, role, split if role == "qrels" else None)]


def _chosen(found: list[Path], role: str, split: str | None) -> Path:
    by_split = {path.name.removesuffix(".gz").rpartition(".")[0] or path.name: path for path in found}
    if split is not None and split not in by_split:
        raise ConfigError(f"no split {split!r} in {found[0].parent}; there are {', '.join(by_split)}")
    if split is not None or len(found) == 1:
        return by_split[split] if split is not None else found[0]
    if "test" in by_split:
        return by_split["test"]
    choose = "split=" if role == "qrels" else f"{role}="
    raise ConfigError(f"several {role} in {found[0].parent}: {', '.join(by_split)}; choose one with {choose}")


def _require(files: Mapping[str, Sequence[Path]], folder: Path | None) -> None:
    for role in ("queries", "qrels"):
        if not files[role]:
            where = f"in {folder} (looked for {', '.join(_NAMES[role])}, each also as .gz)" if folder else "given"
            raise ConfigError(f"no {role} {where}; say which file it is with {role}=")


# -- rows to frames


def _frame(role: str, rows: Iterable[tuple[int, Row]], path: Path) -> pd.DataFrame:
    """The role's columns first; an id that occurs twice is an error."""
    columns = _COLUMNS[role]
    seen: dict[str, int] = {}
    kept: list[Row] = []
    for number, row in rows:
        key = row[columns[0]]
        if key in seen:
            raise bad(path, number, f"{columns[0]} {key!r} occurs twice, first in line {seen[key]}")
        seen[key] = number
        kept.append(row)
    if not kept:
        raise ConfigError(f"{path}: no {role} in it")
    return _ordered(kept, columns, others=role == "documents")


def _ordered(rows: Sequence[Row], columns: Sequence[str], *, others: bool) -> pd.DataFrame:
    extra = dict.fromkeys(name for row in rows for name in row if name not in columns) if others else {}
    frame = pd.DataFrame(list(rows), columns=[*columns, *extra])
    own = list(columns)
    return frame.assign(**{name: frame[name].fillna("").astype("str") for name in own})


def _documents(files: Sequence[Path]) -> pd.DataFrame:
    if not files:
        return _ordered([], _COLUMNS["documents"], others=False)
    frames = [_frame("documents", read(path, DOCUMENTS), path) for path in files]
    together = pd.concat(frames, ignore_index=True)
    if (twice := together["doc_id"].duplicated()).any():
        raise ConfigError(f"{files[0].parent}: doc_id {together['doc_id'][twice].iloc[0]!r} is in two files")
    return together


def _qrels(path: Path, grades: Grades | None) -> pd.DataFrame:
    """Three columns (query, document, grade), four as TREC has them, or columns that a first line names."""
    judged: dict[tuple[str, str], float] = {}
    places: tuple[int, int, int] | None = None
    for number, cells in _cells(path):
        if places is None:
            places, is_head = _places(cells, path, number)
            if is_head:
                continue
        pair, grade = _judgment(cells, places, path, number)
        grade = _mapped(grade, grades, path, number)
        if judged.setdefault(pair, grade) != grade:
            raise bad(path, number, f"query {pair[0]!r} has two grades for document {pair[1]!r}")
    if not judged:
        raise ConfigError(f"{path}: no qrels in it")
    whole = all(grade.is_integer() for grade in judged.values())
    frame = pd.DataFrame([(*pair, grade) for pair, grade in judged.items()], columns=list(_COLUMNS["qrels"]))
    return frame.astype({"query_id": "str", "doc_id": "str", "relevance": "int64" if whole else "float64"})


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each line's cells; of JSON lines those that a head would name, behind such a head."""
    text = text_of(path)
    if not text.lstrip().startswith("{"):
        for number, line in lines(text):
            yield number, [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
        return
    yield 1, list(_COLUMNS["qrels"])
    for number, row in json_lines(text, path):
        named = {_HEADS.get(name.lower()): str(value) for name, value in row.items()}
        yield number, [named.get(column, "") for column in _COLUMNS["qrels"]]


def _places(cells: list[str], path: Path, number: int) -> tuple[tuple[int, int, int], bool]:
    """Where query, document and grade stand, and whether this line only says so."""
    named = [_HEADS.get(cell.lower()) for cell in cells]
    if all(column in named for column in _COLUMNS["qrels"]):
        return (named.index("query_id"), named.index("doc_id"), named.index("relevance")), True
    if len(cells) not in (3, 4):
        raise bad(path, number, f"'query document grade' or TREC's 'query iter document grade' is expected: {cells}")
    return ((0, 1, 2) if len(cells) == 3 else (0, 2, 3)), False


def _judgment(cells: list[str], places: tuple[int, int, int], path: Path, number: int) -> tuple[tuple[str, str], float]:
    query, document, grade = places
    if len(cells) <= max(places) or not (cells[query] and cells[document]):
        raise bad(path, number, f"{max(places) + 1} columns are expected, not {len(cells)}")
    try:
        return (cells[query], cells[document]), float(cells[grade])
    except ValueError:
        raise bad(path, number, f"a grade must be a number, not {cells[grade]!r}") from None


def _mapped(grade: float, grades: Grades | None, path: Path, number: int) -> float:
    try:
        mapped = grade if grades is None else float(grades(grade) if callable(grades) else grades[grade])
    except KeyError:
        raise bad(path, number, f"grades= has no entry for {grade:g}") from None
    if mapped != mapped or mapped in (float("inf"), float("-inf")):
        raise bad(path, number, f"a grade must be a finite number, not {mapped}")
    return mapped
