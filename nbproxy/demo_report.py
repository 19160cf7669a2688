"""How the demo looks in a terminal: from a :class:`~nbproxy.demo.Result` to rich tables, at 80 columns and wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from .tables import clean

if TYPE_CHECKING:
    from .datasets import Collection
    from .demo import Result
    from .session import Session

MEASURE = "nDCG@10"
SHOWN = 5  # places of a search side by side
WIDEST = 118
BAR = 12
LEVEL = 0.05
_ENGINE = "engine's order"
_MOVES = {1: ("▲", "green"), -1: ("▼", "red"), 0: ("=", "dim")}  # by the sign of the move


def opening(console: Console, session: Session, collection: Collection, depth: int) -> None:
    """What is running, before the searches."""
    console.print(Rule(Text("nbproxy demo", style="bold"), style="dim"))
    facts = {
        "engine": f"osmem-server at {session.upstream}",
        "proxy": f"nbproxy at {session.url}, reranks the first {depth} hits",
        "data": f"household: {len(collection.documents)} documents, {len(collection.queries)} queries, "
        f"{len(collection.qrels):,} judgments",
    }
    for name, fact in facts.items():
        console.print(Text.assemble((f"{name:<8}", "dim"), fact))


def report(console: Console, result: Result) -> None:
    """Everything that the demo found."""
    width = min(console.width, WIDEST)
    parts: tuple[RenderableType, ...] = (
        _quality(result),
        _meaning(result),
        _changes(result),
        *_searches(result, width),
        _ending(result),
    )
    for part in parts:
        console.print(Padding(part, (1, 0, 0, 0)), width=width)


def _table(title: str, *heads: str, left: int = 1) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, head in enumerate(heads):
        table.add_column(Text(head, style="dim"), justify="left" if place < left else "right", no_wrap=place >= left)
    return table


def _label(system: str) -> str:
    return _ENGINE if system == "original" else clean(system)


# -- how good


def _quality(result: Result) -> Table:
    """nDCG before and after, for each system."""
    summary = result.evaluation.summary.reindex(list(result.systems))
    n = int(summary["n_queries"].max())
    table = _table(f"Better results? The mean of {n} judged queries", "", MEASURE, "", "RR@10", "change", "p", "±")
    table.columns[2].justify = "left"
    for place, (system, row) in enumerate(summary.iterrows()):
        last = place == len(summary) - 1
        value = float(row[MEASURE])
        texts = [
            _label(str(system)),
            f"{value:.3f}",
            _bar(value),
            f"{float(row['RR@10']):.3f}",
            *_against(result, str(system)),
        ]
        table.add_row(
            *(Text(text) for text in texts), style="bold green" if last and _gained(result, str(system)) else ""
        )
    table.columns[6].header = Text("better/same/worse", style="dim")
    return table


def _bar(value: float) -> str:
    eighths = round(value * BAR * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")


def _against(result: Result, system: str, baseline: str = "original") -> tuple[str, str, str]:
    test = _test(result, system, baseline)
    if test is None:
        return ("", "", "")
    return (f"{test['delta']:+.3f}", _p(test["p_holm"]), f"{test['wins']}/{test['ties']}/{test['losses']}")


def _test(result: Result, system: str, baseline: str) -> Mapping[str, Any] | None:
    tests = result.tests
    found = tests[(tests["system"] == system) & (tests["measure"] == MEASURE) & (tests["baseline"] == baseline)]
    return None if found.empty else {str(name): value for name, value in found.iloc[0].items()}


def _p(p: float) -> str:
    return "–" if p != p else "<0.001" if p < 0.001 else f"{p:.3f}"


def _gained(result: Result, system: str) -> bool:
    test = _test(result, system, "bm25")
    return test is not None and test["delta"] > 0 and test["p"] < LEVEL


def _meaning(result: Result) -> Group:
    """Which difference means what, and what the numbers allow to say."""
    model = result.systems[-1]
    lines = [
        f"change, p, better/same/worse: {MEASURE} against the engine's order, by a paired t-test (Holm-corrected).",
        _said(
            result,
            "bm25",
            "original",
            "engine → bm25",
            "What a proper BM25 repairs. The demo's engine is a stand-in whose scores are not Lucene's BM25 (it "
            "underrates the average length, so long documents sink). On a production engine expect little of this.",
        ),
        _said(
            result,
            model,
            "bm25",
            f"bm25 → {_label(model)}",
            "What the model adds over the same candidates: the difference to look at.",
        ),
    ]
    judged = float(result.evaluation.summary["Judged@10"].min())
    lines.append(
        f"{_share(judged)} of what the first pages show is judged. The collection was written where wordings "
        "differ, which gives a sentence model room: measure yours."
    )
    return Group(*(Text(line, style="dim" if not place else "") for place, line in enumerate(lines)))


def _share(part: float) -> str:
    return "All" if part == 1 else f"{part:.1%}"


def _said(result: Result, system: str, baseline: str, arrow: str, meaning: str) -> str:
    test = _test(result, system, baseline)
    if test is None:
        return f"{arrow}: not measured. {meaning}"
    clear = "more than chance" if test["p_holm"] < LEVEL else "within chance"
    interval = f"95 %: {test['ci_low']:+.3f} to {test['ci_high']:+.3f}"
    return f"{arrow}: {test['delta']:+.3f} ({interval}; p {_p(test['p_holm'])}, {clear}). {meaning}"


# -- what moved


def _changes(result: Result) -> Table:
    """The comparison table: no judgments needed."""
    heads = ("new top hit", "same in top 10", "rbo", "tau-b", "mean move", "max move")
    table = _table("How much of the order changed? Against the engine's order, no judgments needed", "", *heads)
    for row in result.comparison.to_dict("records"):
        table.add_row(
            Text(_label(row["b"])),
            f"{row['top1_changed']:.0%}",
            f"{row['overlap@10']:.0%}",
            *(f"{row[name]:.2f}" for name in ("rbo", "tau_b")),
            *(f"{row[name]:.1f}" for name in ("mean_move", "max_move")),
        )
    return table


# -- side by side


def _searches(result: Result, width: int) -> Iterator[Group]:
    """The query that gained most, one in the middle, and the one that lost most: the failures are shown too."""
    gains = _gains(result)
    chosen = {
        "gained most": gains.index[-1],
        "in the middle": gains.index[len(gains) // 2],
        "lost most": gains.index[0],
    }
    seen: set[str] = set()
    for why, query_id in chosen.items():
        if query_id not in seen and not (why == "lost most" and gains[query_id] >= 0):
            seen.add(query_id)
            yield _search(result, query_id, why, width)


def _gains(result: Result) -> pd.Series[float]:
    """By query id, the model's measure over the engine's, smallest first."""
    rows = result.evaluation.per_query
    wide = rows[rows["measure"] == MEASURE].pivot(index="query_id", columns="system", values="value")
    return (wide[result.systems[-1]] - wide["original"]).sort_values(kind="stable")


def _search(result: Result, query_id: str, why: str, width: int) -> Group:
    model = result.systems[-1]
    queries = result.collection.queries.set_index("query_id")["query"]
    before, after = (_measured(result, query_id, system) for system in ("original", model))
    head = Text.assemble(
        ("“" + clean(str(queries[query_id])) + "”", "bold"), (f"  {why}: {MEASURE} {before:.2f} → {after:.2f}", "dim")
    )
    return Group(head, _side_by_side(result, query_id, model, width))


def _measured(result: Result, query_id: str, system: str) -> float:
    rows = result.evaluation.per_query
    own = rows[(rows["query_id"] == query_id) & (rows["system"] == system) & (rows["measure"] == MEASURE)]
    return float(own["value"].iloc[0]) if len(own) else float("nan")


def _side_by_side(result: Result, query_id: str, model: str, width: int) -> Table:
    """Both first places; each document of the model's with its move and its grade."""
    hits = result.hits
    own = hits[(hits["query_id"] == query_id) & (hits["model"] == model) & (hits["role"] == "served")]
    own = own[own["exchange_id"] == own["exchange_id"].max()]
    titles = result.collection.documents.set_index("doc_id")["title"]
    qrels = result.collection.qrels
    grades = qrels[qrels["query_id"] == query_id].set_index("doc_id")["relevance"]
    table = _grid(_ENGINE, _label(model), width)
    before, after = own.sort_values("original_rank").head(SHOWN), own.sort_values("rank").head(SHOWN)
    for place, (old, new) in enumerate(zip(before.to_dict("records"), after.to_dict("records"), strict=True), 1):
        move = int(new["original_rank"]) - int(new["rank"])
        row = [_dots(grades, old), _title(titles, old), _marked(move), _dots(grades, new), _title(titles, new)]
        table.add_row(Text(str(place), style="dim"), *row)
    return table


def _grid(before: str, after: str, width: int) -> Table:
    each = max((width - 2 * 3 - 3 - 4 - 6) // 2, 12)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head, size in (("", 2), ("", 3), (before, each), ("", 4), ("", 3), (after, each)):
        table.add_column(Text(head, style="dim"), width=size, no_wrap=True, overflow="ellipsis")
    return table


def _dots(grades: pd.Series[int], hit: Mapping[Any, Any]) -> Text:
    grade = int(grades.get(hit["doc_id"], 0))
    return Text("●" * grade + "·" * (3 - grade), style="yellow" if grade else "dim")


def _title(titles: pd.Series[str], hit: Mapping[Any, Any]) -> Text:
    return Text(clean(str(titles.get(hit["doc_id"], hit["doc_id"]))))


def _marked(move: int) -> Text:
    mark, style = _MOVES[(move > 0) - (move < 0)]
    return Text(f"{mark}{abs(move) or ''}", style=style)


# -- the end


def _ending(result: Result) -> Group:
    lines = [Text("●●● grade 3, answers fully … ··· grade 0; ▲3 ▼2: places up and down", style="dim")]
    # A search that was asked again for the next system is a repeat of its query: here that is the plan.
    left = ", ".join(f"{why} {n}" for why, n in result.evaluation.left_out.items() if why != "repeat")
    if left:
        lines.append(Text(f"Left out of the means: {clean(left)}", style="yellow"))
    if result.recording:
        lines += [
            Text(""),
            Text.assemble(("Every exchange is recorded; look at it again with", "")),
            Text(f"  nbproxy.load({str(result.recording)!r}).frame", style="cyan", overflow="fold"),
        ]
    lines.append(Text(f"Done in {result.seconds:.0f} s. Yours: nbproxy.start('http://localhost:9200')", style="dim"))
    return Group(*lines)
