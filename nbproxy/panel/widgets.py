"""Every widget that a panel will ever have, made at once in the thread that asks for it: the main one.

Core ipywidgets only. What lies over the table is one button for each row: HTML cannot tell the kernel of a click, and
a button can be reached with the keyboard too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from .. import views
from .traffic import ANY, HEIGHT, NARROWEST, ROWS

SHADOWS = 12  # toggles that there is room for; where there are more models, they are listed
VIEWS = ("Side by side", "Exchange", "Quality")
_STYLE = """<style>
.nbproxy-row.jupyter-button {background:transparent;box-shadow:none;border:0;margin:0;padding:0;border-radius:0}
.nbproxy-row.jupyter-button:hover {background:color-mix(in srgb,currentColor 8%,transparent);box-shadow:none}
.nbproxy-panel button:focus-visible,.nbproxy-panel select:focus-visible,.nbproxy-panel input:focus-visible,
.nbproxy-panel summary:focus-visible,.nbproxy-panel pre:focus-visible
{outline:2px solid var(--jp-brand-color1,var(--vscode-focusBorder,#0072B2));outline-offset:-2px}
.nbproxy-panel .widget-html-content {line-height:1.4}
.nbproxy-grid .widget-html,.nbproxy-grid .widget-html-content {margin:0;height:auto;overflow:visible}
.nbproxy-panel table tbody tr:nth-child(odd),.nbproxy-panel table tbody tr:hover {background:none}
.nbproxy-panel table {color:inherit}
</style>"""
_AUTO = {"width": "auto"}
_SHORT = {"width": "auto", "max_width": "220px"}


class _Offering(ipywidgets.Widget):  # type: ignore[misc] # ipywidgets has no types
    """A selection whose options one thread changes while the page may choose on another: one after the other."""

    options: Any
    value: Any

    def __init__(self, **options: Any) -> None:
        self._changing = threading.RLock()
        super().__init__(**options)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """What the page chose; nothing, where it does not know yet that there are fewer options."""
        index = sync_data.get("index")
        chosen = index if isinstance(index, (list, tuple)) else [] if index is None else [index]
        with self._changing:
            if all(0 <= place < len(self.options) for place in chosen):
                super().set_state(sync_data)

    def offer(self, options: tuple[str, ...], value: Any) -> bool:
        """Give it its options and its value, in one message; whether anything changed."""
        with self._changing:
            if self.options == options and self.value == value:
                return False
            with self.hold_sync():  # new options choose the first of them: that is not to be seen
                if self.options != options:
                    self.options = options
                self.value = value
        return True


class Dropdown(_Offering, ipywidgets.Dropdown):  # type: ignore[misc]
    """One of several."""


class Several(_Offering, ipywidgets.SelectMultiple):  # type: ignore[misc]
    """Some of many."""


class Box(ipywidgets.VBox):  # type: ignore[misc] # ipywidgets has no types
    """A VBox that also is a picture of itself, for a saved notebook that no kernel runs behind."""

    snapshot: Callable[[], tuple[str, str]]

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is not None and hasattr(self, "snapshot"):
            page, text = self.snapshot()
            bundle = {**bundle, "text/html": page, "text/plain": text}
        return bundle


class Widgets:
    """The widgets of one panel.

    :ivar whole: what is displayed.
    """

    def __init__(self) -> None:
        self._controls()
        self._filters()
        self._table()
        self._below()
        self.style = ipywidgets.HTML(_STYLE, layout={"display": "none"})
        self.address, self.header = ipywidgets.HTML(), ipywidgets.HTML()
        bar = _row(self.model, self.depth, self.shadow_label, self.shadows)
        page = _row(self.newest, self.newer, self.older, *self.filters.values())
        below = _row(self.view, self.ranking)
        self.whole = Box((self.style, self.address, self.header, bar, page, self.table_box, below, self.detail))
        self.whole.add_class("nbproxy-panel")

    def _controls(self) -> None:
        self.model = Dropdown(
            options=(views.NONE,),
            description="Model",
            tooltip="the model that reranks searches from now on",
            style={"description_width": "initial"},
        )
        self.depth = ipywidgets.IntSlider(
            value=50,
            min=1,
            max=200,
            description="Depth",
            tooltip="how many hits are fetched and reranked",
            continuous_update=False,
            style={"description_width": "initial"},
            layout={"width": "260px"},
        )
        self.shadow_label = ipywidgets.Label("Shadows")
        self.toggles = tuple(
            ipywidgets.ToggleButton(description="", tooltip="scores each search after its answer", layout=_SHORT)
            for _ in range(SHADOWS)
        )
        self.shadow_list = Several(
            options=(),
            rows=4,
            tooltip="models that score each search after its answer: Ctrl or Shift chooses several",
            layout={"width": "260px"},
        )
        self.shadows = ipywidgets.HBox((), layout={"flex_flow": "row wrap"})

    def _filters(self) -> None:
        def choice(name: str) -> Any:
            return Dropdown(
                options=(ANY,),
                description=name.capitalize(),
                tooltip=f"only exchanges of this {name}",
                style={"description_width": "initial"},
                layout={"width": "auto", "max_width": "200px"},
            )

        self.filters: dict[str, Any] = {name: choice(name) for name in ("route", "status", "reason", "model")}
        self.filters["model"].description = "By"
        self.filters["text"] = ipywidgets.Text(
            description="Text",
            placeholder="query, target, error",
            tooltip="only exchanges in whose query, target or error this stands",
            continuous_update=False,
            style={"description_width": "initial"},
            layout={"width": "200px"},
        )
        self.newest = _button("newest", "follow the newest exchanges and the newest reranked search")
        self.newer = _button("◀ newer", "the page of exchanges after this one")
        self.older = _button("older ▶", "the page of exchanges before this one")

    def _table(self) -> None:
        height = f"{HEIGHT}px"
        self.table = ipywidgets.HTML(layout={"grid_area": f"1 / 1 / {ROWS + 2} / 2", "margin": "0", "width": "100%"})
        self.rows = tuple(
            ipywidgets.Button(
                description="",
                tooltip=f"show the exchange in row {n + 1}",
                style={"button_color": "transparent"},
                layout={"grid_area": f"{n + 2} / 1 / {n + 3} / 2", "width": "100%", "height": height, "margin": "0"},
            )
            for n in range(ROWS)
        )
        for button in self.rows:
            button.add_class("nbproxy-row")
        self.scroll = ipywidgets.FloatSlider(
            value=100.0,
            min=0.0,
            max=100.0,
            step=0.01,
            orientation="vertical",
            readout=False,
            continuous_update=False,
            tooltip="how far back: the newest exchanges above, the oldest below",
            layout={"height": f"{HEIGHT * (ROWS + 1)}px", "width": "28px", "margin": "0"},
        )
        grid = ipywidgets.GridBox(
            (self.table, *self.rows),
            layout={"grid_template_rows": f"repeat({ROWS + 1}, {height})",
                    "grid_template_columns": f"minmax({NARROWEST}px,100%)",
                    "flex": "1 1 auto", "width": "100%", "overflow": "auto hidden"},
        )  # fmt: skip
        grid.add_class("nbproxy-grid")
        self.table_box = ipywidgets.HBox((grid, self.scroll), layout={"width": "100%", "overflow": "hidden"})

    def _below(self) -> None:
        self.view = ipywidgets.ToggleButtons(
            options=VIEWS, tooltips=("both orders of one search", "one exchange whole", "models against judgments"),
            style={"button_width": "auto"},
        )  # fmt: skip
        self.ranking = Dropdown(
            options=("served",),
            description="Order",
            tooltip="whose order is shown: what was served, a shadow's, a replay's",
            style={"description_width": "initial"},
        )
        self.detail = ipywidgets.HTML(layout={"overflow": "hidden"})

    def controls(self) -> Sequence[Any]:
        """All that can be pressed, chosen or written into."""
        left = (
            self.model,
            self.depth,
            *self.toggles,
            self.shadow_list,
            self.newest,
            self.newer,
            self.older,
            *self.filters.values(),
        )
        return (*left, *self.rows, self.scroll, self.view, self.ranking)


def _button(text: str, tip: str) -> Any:
    return ipywidgets.Button(description=text, tooltip=tip, layout=_AUTO)


def _row(*children: Any) -> Any:
    return ipywidgets.HBox(children, layout={"flex_flow": "row wrap", "align_items": "center"})
