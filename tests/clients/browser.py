"""Chromium without a screen, driven as a user does, and what it asked for and complained of."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Without these it looks for hosts of its maker.
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def find_programs() -> tuple[str, str] | None:
    """Give the programs of Chromium and its driver; None if they are not there."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


class Browser:
    """A window of Chromium."""

    def __init__(self, programs: tuple[str, str], profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = programs[0]
        for argument in (*QUIET, f"--user-data-dir={profile}", "--lang=en-GB"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(programs[1]))
        self.driver.set_script_timeout(30)

    def open(self, url: str, *, size: tuple[int, int] = (1280, 860), language: str = "en") -> None:
        """Open a page anew, and wait until it is drawn."""
        self.driver.get("about:blank")
        self.command("Emulation.setDeviceMetricsOverride", **_screen(size))
        self.command("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
        self.complaints()
        self.asked()
        self.driver.get(url)

    def command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def choose(self, selector: str, value: str) -> None:
        """Choose of a list, as its user's change event tells."""
        self.find(f"{selector} option[value='{value}']").click()

    def click_at(self, selector: str, x: float = 0, y: float = 0) -> None:
        """Click on an element, so many pixels from its middle."""
        ActionChains(self.driver).move_to_element_with_offset(
            self.find(selector), x, y
        ).click().perform()

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def until(self, holds: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait until something holds, and give it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = holds()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} s: {what}")

    def take_picture(self, path: Path) -> None:
        """Keep what is on the screen as PNG, for the documentation."""
        time.sleep(1)  # animations end
        shown = Image.open(BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        path.parent.mkdir(parents=True, exist_ok=True)
        shown.save(path, optimize=True)

    def offline(self, off: bool) -> None:  # noqa: FBT001
        """Take the network away, or give it back."""
        unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.command("Network.emulateNetworkConditions", offline=off, **unlimited)

    def asked(self) -> list[str]:
        """Give the URLs that were asked for since the last call."""
        events = (json.loads(e["message"])["message"] for e in self.driver.get_log("performance"))
        sent = (e["params"] for e in events if e["method"] == "Network.requestWillBeSent")
        return [e["request"]["url"] for e in sent]

    def complaints(self) -> list[str]:
        """Give errors and warnings of the console since the last call."""
        return [str(e["message"]) for e in self.driver.get_log("browser")]


def _screen(size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    return {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}


@contextmanager
def running(programs: tuple[str, str], profile: Path) -> Iterator[Browser]:
    """Start a browser that ends with the block."""
    browser = Browser(programs, profile)
    try:
        yield browser
    finally:
        browser.driver.quit()
