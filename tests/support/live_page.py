"""The live page in a real browser, without a head: its test, its figures, and the pictures of docs/LIVE.md.

python tests/support/live_page.py figures          how soon a beat is on screen, with a cold cache and without
python tests/support/live_page.py shots FOLDER     the page, dark and light, on a desk and on a phone
python tests/support/live_page.py docs             the pictures of docs/LIVE.md, of a synthetic patient
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
SECONDS = 60.0
DESK, PHONE = ("desk", 1280, 1000, 1.0), ("phone", 390, 844, 2.0)
FIRST = r"first beat on screen (.*)"


def missing() -> str:
    """What a browser test lacks on this machine; "" for nothing."""
    absent = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    try:
        import selenium  # noqa: F401
    except ImportError:
        absent.append("selenium")
    return f"no {' and no '.join(absent)}: apt-get install chromium chromium-driver" if absent else ""


@dataclass
class Running:
    """A command whose page can be opened.

    lines: what it has said so far
    """

    child: subprocess.Popen[str]
    started: float
    lines: list[str]
    address: str = ""

    def until(self, pattern: str) -> str:
        """Reads on until a line has it, and returns the first group. AssertionError where it ends before."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError("\n".join(self.lines))

    def interrupt(self) -> None:
        """As Ctrl-C does, which a terminal sends to the firmware, too."""
        os.killpg(self.child.pid, signal.SIGINT)

    def end(self) -> int:
        """Waits until it has ended, and reads the rest."""
        assert self.child.stdout is not None
        self.lines += self.child.stdout.read().splitlines()
        return self.child.wait(SECONDS)


@contextlib.contextmanager
def command(words: Sequence[str], env: dict[str, str] | None = None) -> Iterator[Running]:
    """`synapcc demo ecg --live` with more words, once its page can be opened."""
    run = [sys.executable, "-u", "-m", "synapcc.host", "demo", "ecg", "--live", *words]
    around = {**os.environ, **(env or {})}
    child = subprocess.Popen(
        run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=around, start_new_session=True
    )
    it = Running(child, time.monotonic(), [])
    try:
        it.address = it.until(r"open (http://\S+)")
        yield it
    finally:
        if child.poll() is None:
            it.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@contextlib.contextmanager
def browser(width: int = 1280, height: int = 1000, dark: bool = False, dense: float = 1.0) -> Iterator[Any]:
    """Chromium, with a folder of its own that goes with it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(prefix="synapcc-chromium-") as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            metrics = {"width": width, "height": height, "deviceScaleFactor": dense, "mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
            yield driver
        finally:
            driver.quit()


def figures() -> None:
    """Prints how soon the first beat is on screen: nothing in the cache, and behind that."""
    with tempfile.TemporaryDirectory(prefix="synapcc-cold-") as cold, browser() as page:
        for what in ("cold cache", "warm cache"):
            with command([], {"XDG_CACHE_HOME": cold}) as it:
                page.get(it.address)
                print(f"{what}: first beat on screen {it.until(FIRST)}")


def shots(folder: Path) -> None:
    """The page as it looks, PNG files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with command(["--learn", "--speed", "max"]) as it:
        for name, width, height, dense in (DESK, PHONE):
            for dark in (False, True):
                with browser(width, height, dark, dense) as page:
                    _shoot(page, it.address, folder / f"live-{name}-{'dark' if dark else 'light'}.png", dense)


def pictures() -> None:
    """Those of docs/LIVE.md."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    with command(["--learn", "--speed", "max", "--patient", "synthetic-13"]) as it:
        for (_, width, height, dense), dark, name in ((DESK, False, "live"), (PHONE, True, "live-phone")):
            with browser(width, height, dark, dense) as page:
                _shoot(page, it.address, docs / f"{name}.png", dense)


def _shoot(page: Any, address: str, path: Path, dense: float) -> None:
    page.get(address)
    clock = page.find_element("id", "clock")
    while len(clock.text) < 4 or clock.text < "2:30":
        time.sleep(0.2)
    press(page, "[data-times='1']")
    while not page.find_elements("css selector", ".event.V[style*='opacity: 1']"):
        time.sleep(0.2)
    choose(page)
    time.sleep(1)
    width, height = page.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
    metrics = {"width": width, "height": height, "deviceScaleFactor": dense, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    time.sleep(1)
    page.save_screenshot(str(path))
    press(page, "[data-times='0']")


def choose(page: Any, share: float = 0.6) -> None:
    """Clicks into the trace, at a share of its width."""
    from selenium.webdriver import ActionChains

    plot = page.find_element("css selector", "#plot")
    ActionChains(page).move_to_element_with_offset(
        plot, round((share - 0.5) * plot.size["width"]), 0
    ).click().perform()


def press(page: Any, selector: str) -> None:
    """Clicks what a selector finds first."""
    page.find_element("css selector", selector).click()


if __name__ == "__main__":
    if lacks := missing():
        sys.exit(lacks)
    if sys.argv[1:] == ["figures"]:
        figures()
    elif sys.argv[1:2] == ["shots"] and len(sys.argv) == 3:
        shots(Path(sys.argv[2]))
    elif sys.argv[1:] == ["docs"]:
        pictures()
    else:
        sys.exit(__doc__)
