"""What happened, and what of it must not be."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import nbproxy

from .messages import Answer, Sent
from .upstream import STATUSES, Chaotic, content, early_close, fate, hang

SAFE = (b"GET", b"HEAD")


@dataclass
class Ledger:
    """What happened, counted; ``problems`` are what must not be."""

    seed: int
    kinds: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(
        default_factory=lambda: {kind: [] for kind in ("lost", "crossed", "hung", "wrong", "records", "repeats")}
    )
    statuses: dict[int, int] = field(default_factory=dict)  # by number: 0: cut or without an answer
    unsafe: set[int] = field(default_factory=set)

    def problem(self, kind: str, text: str) -> None:
        self.problems[kind].append(text)

    def judge(self, sent: Sent, answer: Answer) -> None:
        self.statuses[sent.number] = answer.status
        kind = "cut" if not answer.whole else "whole" if b"x-id" in answer.fields else "error"
        self.kinds[kind] += 1
        met, _ = fate(self.seed, sent.number, sent.method)
        what = f"{sent.number} {sent.method.decode()} {met.__name__}: {answer.status} {kind}"
        if kind != "error" and answer.fields.get(b"x-id") != b"%d" % sent.number:
            self.problem("crossed", f"{what} X-Id {answer.fields.get(b'x-id')!r}")
        elif kind not in self.allowed(sent):
            self.problem("wrong", f"{what} {answer.body[:200]!r}")
        elif not _right(sent, answer, kind, met is hang):
            self.problem("crossed", f"{what} {answer.body[:200]!r}")

    def allowed(self, sent: Sent) -> set[str]:
        """The kinds of answer that this request may get."""
        met, group = fate(self.seed, sent.number, sent.method)
        within = "error" if sent.search and not sent.alone else "cut"  # a search's answer is read whole first
        kinds = {"ok": {"whole"}, "before": {"error"}, "within": {within}}.get(group, {"whole", "error", "cut"})
        stale = sent.method not in SAFE and (
            sent.alone or not sent.search
        )  # its reused connection may just have closed
        if met is early_close and sent.method in SAFE:
            kinds = {"whole"}
        return kinds | {"error"} if stale else kinds


def _right(sent: Sent, answer: Answer, kind: str, hung: bool) -> bool:
    """Whether an answer is, byte for byte, what it may be."""
    if sent.method == b"HEAD":
        return not answer.body
    if kind == "error":
        known = {502} if not hung else {504} if sent.method in SAFE else {502, 504}
        return answer.status in known and b'"nbproxy_upstream_' in answer.body
    if sent.search and answer.status == 200:
        return kind == "cut" or _own_hits(sent, json.loads(answer.body))
    if answer.status not in (200, *STATUSES):
        return False
    own = content(sent.number)
    return answer.body == own if kind == "whole" else (own + b"xab").startswith(answer.body) or answer.body == b"123"


def _own_hits(sent: Sent, answer: object) -> bool:
    assert isinstance(answer, dict)
    hits = answer["hits"]["hits"]
    ids = [int(hit["_id"]) for hit in hits]
    own = all(f" i{sent.number} " in hit["_source"]["title"] for hit in hits)
    turned = sent.method == b"POST" and sent.number % 10  # a GET's query is none of the model's failures
    order = [49 - n if turned else n for n in range(len(ids))]
    return own and (ids == order or sent.method == b"GET")


def check_records(ledger: Ledger, session: nbproxy.Session, upstream: Chaotic) -> int:
    """Each answered exchange is recorded once, with the status that the client saw; the number of rows."""
    rows = session._rows()
    numbers = rows.target.str.extract(r"^/[pi](\d+)/")[0].astype("Int64")
    recorded = Counter(numbers.dropna())
    statuses = dict(zip(numbers, rows.status, strict=True))
    for number, status in ledger.statuses.items():
        count = recorded[number]
        if count > 1 or (status and count != 1):
            ledger.problem("records", f"{number} was recorded {count} times")
        elif status and statuses[number] != status:
            ledger.problem("records", f"{number}: {status} seen, {statuses[number]} recorded")
    for number in ledger.unsafe:
        if upstream.received[number] > 1:
            ledger.problem("repeats", f"{number} came {upstream.received[number]} times")
    return len(rows)
