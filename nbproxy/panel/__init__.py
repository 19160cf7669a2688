"""The notebook panel: core ipywidgets that show snapshots and act through a session, here or connected.

| module | what it is |
|---|---|
| `panel` | what is shown when: the one thread that assigns, the one that looks, and what a click asks of them |
| `widgets` | every widget there will ever be, made in the main thread; the only one that imports ipywidgets |
| `looking` `changes` | what is looked at; what a user sets |
| `header` `traffic` `sides` `detail` `quality` | one part of the page each: facts in, HTML out |
| `charts` `markup` | SVG and HTML as pure functions; what is recorded passes ``views.escaped`` on its way |

Charts are inline SVG, written by functions of a few lines: a chart library for a widget brings code into the browser
(VS Code would fetch it from a CDN), and matplotlib's pictures take their colours once, not from the notebook's theme.
Reports and notebooks, which are no widgets, keep matplotlib.
"""

from .panel import Panel

__all__ = ["Panel"]
