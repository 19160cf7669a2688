"""A real JupyterLab, or Notebook 7, on loopback, driven by a real Chromium: one of each for all tests that look."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
_JAVASCRIPT = ROOT / "tests" / "javascript"
PICTURES = ROOT / "pictures"  # ignored by git; kept by CI
PATIENCE = 240
_SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
_KERNEL = (
    "const shown = window.jupyterapp && window.jupyterapp.shell.currentWidget;"
    "const kernel = shown && shown.sessionContext && shown.sessionContext.session && "
    "shown.sessionContext.session.kernel;"
)
_ALL_RUN = "shown.content.widgets.every(c => c.model.type != 'code' || c.model.executionCount !== null)"


def missing() -> str:
    """What there has to be and is not: ``""`` where all is there."""
    needed = ("chromium", "chromedriver")
    return ", ".join(name for name in needed if shutil.which(name) is None)


@contextlib.contextmanager
def jupyterlab(home: Path, program: str = "jupyterlab") -> Iterator[str]:
    """Where notebooks that lie in ``home / "notebooks"`` are opened, the server's token behind it.

    :param program: or ``notebook``, which is JupyterLab's parts in another page.
    """
    settings = home / "settings"
    for name, values in _SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    (home / "notebooks").mkdir(exist_ok=True)
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {
        **os.environ,
        **places,
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", program, "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
    command += ["--expose-app-in-browser", f"--ServerApp.root_dir={home / 'notebooks'}"]
    log = (home / "jupyterlab.log").open("w+")
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=log, text=True)
    assert server.stderr is not None
    try:
        yield _address(server.stderr)
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.communicate(timeout=15)  # it ends its kernels
        server.kill()
        server.wait()
        log.close()


def _address(lines: Any) -> str:
    """Read on until it says where it is; what it says later is of no interest, but must not fill the pipe."""
    import threading

    said = []
    for line in lines:
        said.append(line)
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/(lab|tree)(\?token=\w+)", line):
            threading.Thread(target=lambda: [None for _ in lines], daemon=True).start()
            return found[1] + {"lab": "/lab/tree", "tree": "/notebooks"}[found[2]] + found[3]
    raise RuntimeError("Jupyter did not start:\n" + "".join(said))


@contextlib.contextmanager
def chromium(size: tuple[int, int] = (1500, 1500)) -> Iterator[Page]:
    """A window without a head."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--force-color-profile=srgb", "--window-size={},{}".format(*size)):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield Page(driver)
    finally:
        driver.quit()


class Page:
    """A notebook in a browser's window."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, lab: str, home: Path, name: str, cells: list[Any]) -> None:
        """Write a notebook of these cells, and show it, its kernel ready."""
        book = nbformat.v4.new_notebook(cells=cells)
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, home / "notebooks" / name)
        address, _, query = lab.partition("?")
        with contextlib.suppress(Exception):  # nothing is to ask whether to leave the page
            self.driver.execute_script("window.onbeforeunload = null")
        self.driver.get(f"{address}/{name}?reset&{query}")
        self.until(lambda: self.script(f"{_KERNEL} return !!kernel && kernel.status == 'idle'"))

    def run_all(self) -> None:
        """Run every cell, and wait until the last one is done; a cell that fails is an error here."""
        self.script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.until(lambda: self._failed() or self.script(f"{_KERNEL} return {_ALL_RUN} && kernel.status == 'idle'"))
        failed = self._failed()
        assert not failed, failed[0].text

    def _failed(self) -> list[Any]:
        return self.all(".jp-OutputArea-output[data-mime-type*='error']")

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait for it; elements that were redrawn meanwhile are looked for again."""
        from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

        wait = WebDriverWait(self.driver, seconds, 0.05, [StaleElementReferenceException, WebDriverException])
        return wait.until(lambda _: condition())

    def all(self, css: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    @property
    def panel(self) -> Any:
        """The panel that is shown."""
        return self.until(lambda: next((one for one in self.all(".nbproxy-panel") if one.is_displayed()), None))

    @property
    def text(self) -> str:
        return str(self.script("return arguments[0].innerText", self.panel))

    def says(self, text: str) -> None:
        self.until(lambda: text in self.text)

    def control(self, label: str) -> Any:
        """The select or input that this label belongs to."""
        found = self.panel.find_elements(By.XPATH, f".//label[normalize-space()='{label}']/following-sibling::*")
        return found[0] if found else None

    def button(self, text: str) -> Any:
        return self.panel.find_element(By.XPATH, f".//button[contains(., '{text}')]")

    def row(self, n: int) -> Any:
        return self.panel.find_elements(By.CSS_SELECTOR, "button.nbproxy-row")[n]

    def picture(self, name: str) -> Path:
        """The panel alone, as it is seen."""
        PICTURES.mkdir(exist_ok=True)
        file = PICTURES / f"{name}.png"
        self.script("arguments[0].scrollIntoView({block: 'start'})", self.panel)
        file.write_bytes(self.panel.screenshot_as_png)
        return file

    def window(self, name: str) -> Path:
        """What the window shows."""
        PICTURES.mkdir(exist_ok=True)
        file = PICTURES / f"{name}.png"
        file.write_bytes(self.driver.get_screenshot_as_png())
        return file

    def whole(self, name: str) -> Path:
        """The whole document, however long."""
        size = self.script("const e = document.documentElement; return [innerWidth, e.scrollHeight]")
        view = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
        return self.window(name)

    def sized(self, width: int, height: int) -> None:
        """As a device of this size shows it; narrower than a window can be, too."""
        view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})

    def dark(self, dark: bool = True) -> None:
        """What the reader prefers."""
        wanted = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def in_vs_code(self, code: str) -> None:
        """Show a cell's widget as VS Code would, over the page, and no other."""
        bundle = _JAVASCRIPT / "node_modules" / "vscode-widgets" / "package" / "dist" / "ipywidgets.js"
        self.script((_JAVASCRIPT / "vscode.js").read_text())
        for call, argument in (("loadVsCode", bundle.read_text()), ("showInVsCode", code)):
            said = self.driver.execute_async_script(
                f"window.{call}(arguments[0]).then(() => arguments[1](''), error => arguments[1](String(error)))",
                argument,
            )
            assert said == "", said

    def theme(self, name: str) -> None:
        self.driver.execute_async_script(
            "const done = arguments[1];"
            "window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]}).then(() => done(true))",
            name,
        )
        self.until(lambda: self.script("return document.body.dataset.jpThemeLight") == str("Dark" not in name).lower())
