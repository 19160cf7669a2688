"""Collections from disk: each format as its field writes it, and what is said of files that cannot be read."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nbproxy import ConfigError, datasets
from nbproxy.datasets import CRANFIELD_GRADES, Collection, load

CORPUS = '{"_id": "d1", "title": "T", "text": "one"}\n{"_id": 2, "text": "zwei Ü\\u2028", "url": "u", "metadata": {}}\n'
QUERIES = '{"_id": "q1", "text": "first"}\n\n{"_id": "q2", "text": "second"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\t2\t0\n"
BEIR = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}

DOC = "<DOC>\n<DOCNO> d1 </DOCNO>\n<HEADLINE>A &amp; B</HEADLINE>\n<TEXT>\n<P>one</P> two\n</TEXT>\n</DOC>\n"
TOP = """<top>
<num> Number: 301
<title> International Organized Crime

<desc> Description:
Identify organizations.
<narr> Narrative:
A relevant document names one.
</top>
"""
TREC = {
    "docs/a.txt": DOC,
    "docs/b.sgml": DOC.replace("d1", "d2"),
    "topics.txt": TOP,
    "qrels.txt": "301 0 d1 1\n301 Q0 d2 0\n",
}

SMART = {
    "cran.all": ".I 1\n.T\na title\n.A\nan author\n.W\nthe text\non two lines\n.I 2\n.W\nmore\n",
    "cran.qry": ".I 001\n.W\nwhat is\nit\n.I 004\n.W\nwhat else\n",
    "cranqrel": "1 1 1 \n1 2 4\n2 2 -1\n",
}


def put(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def rows(collection: Collection) -> tuple[list[Any], list[Any], list[Any]]:
    frames = (collection.documents[["doc_id", "title", "text"]], collection.queries, collection.qrels)
    first, second, third = (list(frame.itertuples(index=False, name=None)) for frame in frames)
    return first, second, third


FORMATS = {
    "beir": (
        BEIR,
        {},
        (
            [("d1", "T", "one"), ("2", "", "zwei Ü\u2028")],
            [("q1", "first"), ("q2", "second")],
            [("q1", "d1", 2), ("q2", "2", 0)],
        ),
    ),
    "trec": (
        TREC,
        {},
        (
            [("d1", "A & B", "one two"), ("d2", "A & B", "one two")],
            [("301", "International Organized Crime")],
            [("301", "d1", 1), ("301", "d2", 0)],
        ),
    ),
    "smart": (
        SMART,
        {"grades": CRANFIELD_GRADES},
        (
            [("1", "a title", "the text on two lines"), ("2", "", "more")],
            [("1", "what is it"), ("2", "what else")],
            [("1", "1", 4), ("1", "2", 1), ("2", "2", 0)],
        ),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_each_format_reads_to_the_same_three_frames(tmp_path: Path, name: str, packed: bool) -> None:
    files, options, expected = FORMATS[name]
    if packed:
        files = {f"{path}.gz": gzip.compress(text.encode()) for path, text in files.items()}
    collection = load(put(tmp_path, files), **options)
    assert rows(collection) == expected
    assert [str(frame.dtypes.iloc[0]) for frame in vars(collection).values()] == ["str"] * 3
    assert collection.qrels["relevance"].dtype == "int64"


def test_further_fields_are_kept_and_named_as_in_the_file(tmp_path: Path) -> None:
    assert list(load(put(tmp_path, BEIR)).documents.columns) == ["doc_id", "title", "text", "url"]
    assert list(load(put(tmp_path / "smart", SMART)).documents.columns) == ["doc_id", "title", "text", "author"]


def test_fractions_stay_and_whole_numbers_written_with_a_point_are_whole(tmp_path: Path) -> None:
    folder = put(tmp_path, BEIR | {"qrels/test.tsv": "q1\td1\t0.5\nq1\t2\t1\n"})
    assert load(folder).qrels["relevance"].tolist() == [0.5, 1.0]
    assert load(put(folder, {"qrels/test.tsv": "q1\td1\t1.0\n"})).qrels["relevance"].dtype == "int64"


def test_a_split_brings_its_own_queries(tmp_path: Path) -> None:
    folder = put(tmp_path, BEIR | {"qrels/train.tsv": "q2\td1\t1\n", "qrels/test.tsv": "q1\td1\t1\n"})
    assert load(folder).queries["query_id"].tolist() == ["q1"]
    assert load(folder, split="train").queries["query_id"].tolist() == ["q2"]
    with pytest.raises(ConfigError, match=r"no split 'dev' .*test, train"):
        load(folder, split="dev")


def test_several_splits_and_none_called_test_must_be_chosen_from(tmp_path: Path) -> None:
    files = {name: text for name, text in BEIR.items() if "test" not in name}
    folder = put(tmp_path, files | {"qrels/a.tsv": QRELS, "qrels/b.tsv": QRELS})
    with pytest.raises(ConfigError, match=r"several qrels .*a, b; choose one with split="):
        load(folder)


def test_a_pair_of_files_without_documents(tmp_path: Path) -> None:
    put(tmp_path, {"t": "1\tcats and dogs\n2 fish\n", "r": "1 0 x 1\n"})
    collection = load(queries=tmp_path / "t", qrels=tmp_path / "r")
    assert rows(collection) == ([], [("1", "cats and dogs"), ("2", "fish")], [("1", "x", 1)])
    assert repr(collection) == "<Collection: 0 documents, 2 queries, 1 qrels>"


@pytest.mark.parametrize(
    ("topic", "query"), [("desc", "Identify organizations."), ("narr", "A relevant document names one.")]
)
def test_a_topic_has_three_parts(tmp_path: Path, topic: str, query: str) -> None:
    assert load(put(tmp_path, TREC), topic=topic).queries["query"].tolist() == [query]


def test_latin_1_is_read_where_it_is_no_utf_8(tmp_path: Path) -> None:
    folder = put(tmp_path, TREC | {"topics.txt": TOP.replace("Crime", "Café").encode("latin-1")})
    assert load(folder).queries["query"].tolist() == ["International Organized Café"]


def test_a_judgment_said_twice_alike_is_one(tmp_path: Path) -> None:
    assert len(load(put(tmp_path, BEIR | {"qrels/test.tsv": QRELS + "q1\td1\t2\n"})).qrels) == 2


WRONG = {
    "not JSON": ({"corpus.jsonl": CORPUS + "{oops}\n"}, r"corpus\.jsonl:3: not JSON"),
    "no object": ({"queries.jsonl": QUERIES + "[1]\n"}, r"queries\.jsonl:4: an object"),
    "no id": ({"queries.jsonl": '{"text": "x"}\n'}, r"queries\.jsonl:1: needs _id"),
    "no text": ({"corpus.jsonl": '{"_id": "a"}\n'}, r"corpus\.jsonl:1: needs _id and text, has _id"),
    "an id twice": ({"corpus.jsonl": CORPUS + CORPUS}, r"corpus\.jsonl:3: doc_id 'd1' occurs twice, first in line 1"),
    "no number": ({"qrels/test.tsv": QRELS + "q1\t2\tgood\n"}, r"test\.tsv:4: a grade must be a number, not 'good'"),
    "not finite": ({"qrels/test.tsv": QRELS + "q1\t2\tnan\n"}, r"test\.tsv:4: a grade must be a finite number"),
    "two grades": ({"qrels/test.tsv": QRELS + "q1\td1\t0\n"}, r"test\.tsv:4: query 'q1' has two grades"),
    "a short line": ({"qrels/test.tsv": QRELS + "q1\td1\n"}, r"test\.tsv:4: 3 columns"),
    "too many columns": ({"qrels/test.tsv": "a b c d e\n"}, r"test\.tsv:1: 'query document grade'"),
    "nothing judged": ({"qrels/test.tsv": "\n"}, r"test\.tsv: no qrels in it"),
    "nothing": ({"queries.jsonl": ""}, r"queries\.jsonl:1: no format"),
    "damaged gz": ({"corpus.jsonl.gz": b"\x1f\x8bnot", "corpus.jsonl": None}, r"corpus\.jsonl\.gz: "),
    "no end": ({"queries.jsonl": None, "topics": "\n" + TOP + "<top>\n<num> 1"}, r"topics:11: <top> without </top>"),
    "no title": ({"queries.jsonl": None, "topics": "<top><num>1</top>"}, r"topics:1: <top> without <title>"),
    "no docno": ({"corpus.jsonl": None, "docs": "<DOC>x</DOC>"}, r"docs:1: <DOC> without <DOCNO>"),
    "no section": ({"queries.jsonl": None, "a.qry": ".I 1\nx\n"}, r"a\.qry:2: text outside of a section"),
    "no query text": ({"queries.jsonl": None, "a.qry": ".I 1\n.T\nx\n"}, r"a\.qry:1: a query without \.W"),
    "no queries": ({"queries.jsonl": None}, r"no queries in .*looked for queries\.jsonl"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, name: str) -> None:
    changes, message = WRONG[name]
    files = {path: text for path, text in (BEIR | changes).items() if text is not None}
    with pytest.raises(ConfigError, match=message):
        load(put(tmp_path, files))


def test_a_grade_without_an_entry_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"test\.tsv:2: grades= has no entry for 2"):
        load(put(tmp_path, BEIR), grades={0: 0})
    assert load(tmp_path, grades=lambda grade: grade / 4).qrels["relevance"].tolist() == [0.5, 0.0]


def test_no_such_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'household'"):
        load("houshold")
    with pytest.raises(ConfigError, match="is a file, give its folder"):
        load(put(tmp_path, {"x": "y"}) / "x")
    with pytest.raises(ConfigError, match="no queries given"):
        load()
    with pytest.raises(ConfigError, match="No such file"):
        load(queries=tmp_path / "x", qrels=tmp_path / "none")


def test_the_packaged_collection_is_found_by_its_name() -> None:
    assert datasets.names() == ["household"]
    assert len(load("household").documents) >= 300


@pytest.mark.shared
def test_cranfield(shared: Path) -> None:
    collection = load(shared / "data" / "cranfield", grades=CRANFIELD_GRADES)
    assert [len(frame) for frame in vars(collection).values()] == [1400, 225, 1837]
    assert collection.documents["doc_id"].tolist() == [str(n) for n in range(1, 1401)]
    assert collection.queries["query"].iloc[0].startswith("what similarity laws must be obeyed")
    assert collection.queries["query_id"].tolist() == [str(n) for n in range(1, 226)]
    assert set(collection.qrels["relevance"]) == {0, 1, 2, 3, 4}


@pytest.mark.shared
def test_chorus(shared: Path) -> None:
    collection = load(shared / "data" / "chorus")
    assert [len(frame) for frame in vars(collection).values()] == [19406, 116, 3320]
    assert collection.qrels["relevance"].value_counts().to_dict() == {0: 1505, 1: 238, 2: 105, 3: 1472}
