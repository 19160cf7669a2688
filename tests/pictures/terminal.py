"""``nbproxy live`` in a real terminal: what tmux shows, its colours too, as SVG."""

from __future__ import annotations

import io
import sys
import tempfile
import threading
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

import nbproxy
from nbproxy.rerankers import packaged_minilm

from ..terminals import Tmux
from .household import STAR, Asking
from .kept import drawing

WIDTH, HEIGHT = 100, 36
_THEME = TerminalTheme(
    (22, 25, 30), (214, 218, 224),
    [(22, 25, 30), (240, 113, 120), (126, 196, 138), (226, 184, 107), (111, 168, 230), (196, 141, 218), (92, 190, 200),
     (214, 218, 224)],
)  # fmt: skip
# rich's own fetches a font; this one takes what there is.
_FORMAT = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"><style>
.{unique_id}-matrix{{font-family:"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:{char_height}px;\
line-height:{line_height}px;white-space:pre}}{styles}</style><defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>{chrome}<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""


def live() -> list[Path]:
    """The view beside a proxy that is busy."""
    session = nbproxy.start(name="household", record=False, deadline=30)
    try:
        session.models["all-MiniLM-L6-v2"] = packaged_minilm()
        session.model = session.models["all-MiniLM-L6-v2"]
        session.shadow["bm25"] = "bm25"
        asking = Asking(session)
        asking.all()
        return [drawing(_svg(_seen(session, asking)), "terminal")]
    finally:
        session.stop()


def _seen(session: nbproxy.Session, asking: Asking) -> str:
    """The screen as the terminal has it, with control sequences for its colours."""
    command = f"{sys.executable} -m nbproxy live {session.url}"
    with tempfile.TemporaryDirectory() as folder, Tmux(command, WIDTH, HEIGHT, folder=Path(folder)) as tmux:
        tmux.until(lambda shown: shown[-1].startswith("p pause"))
        client = threading.Thread(target=asking.steadily, args=(400,))
        client.start()
        client.join()
        tmux.until(lambda shown: any(line.startswith(f"“{STAR}”") for line in shown))
        return tmux.coloured()


def _svg(seen: str) -> str:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(seen), end="", soft_wrap=True)
    return console.export_svg(title="nbproxy live", theme=_THEME, code_format=_FORMAT, unique_id="live")
