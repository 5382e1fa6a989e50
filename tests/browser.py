"""A headless Chromium for the tests of the page."""

import base64
import io
import shutil
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

FLAGS = [
    f"--{flag}"
    for flag in [
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "hide-scrollbars",
    ]
]


def find(*names):
    """The path of a program; the test fails where there is none."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(f"these tests need {names[0]}; on Debian: apt-get install chromium chromium-driver")
    return found


@contextmanager
def chromium(folder):
    """A browser with an empty profile; downloads go to `folder`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = find("chromium", "chromium-browser", "google-chrome")
    for flag in [*FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1280,900"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(find("chromedriver")))
    try:
        driver.set_script_timeout(60)
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder / "downloads")}
        )
        yield driver
    finally:
        driver.quit()


class Page:
    """The page as somebody uses it who sees it."""

    def __init__(self, driver, address):
        self.driver = driver
        began = time.monotonic()
        driver.get(address)
        self.wait("return document.body.dataset.opened === '1'")
        self.first_frame_seconds = time.monotonic() - began

    def wait(self, script, *arguments, seconds=60):
        """The first value of the script that is true."""
        end = time.monotonic() + seconds
        while not (value := self.driver.execute_script(script, *arguments)):
            if time.monotonic() > end:
                alert = self.driver.execute_script("return document.getElementById('alerts').textContent")
                pytest.fail(f"never true: {script}; on the page: {alert!r}")
            time.sleep(0.02)
        return value

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    @property
    def step(self):
        return int(self.run("return document.body.dataset.step"))

    def press(self, key, times=1):
        """Taps of a key, each of which is one step."""
        from selenium.webdriver.common.action_chains import ActionChains

        for _ in range(times):
            step = self.step
            ActionChains(self.driver, duration=0).key_down(key).key_up(key).perform()
            self.wait("return Number(document.body.dataset.step) > arguments[0]", step)

    def picture(self):
        """What the view shows, uint8 (512, 512, 3)."""
        data = self.run("return document.getElementById('frame').toDataURL('image/png').split(',')[1]")
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            return np.array(image.convert("RGB"))

    def opened(self, act):
        """Does something that opens a world, and waits for it."""
        before = self.run("return document.body.dataset.opened")
        act()
        self.wait("return document.body.dataset.opened !== arguments[0]", before)

    def alert(self):
        """The text of an error that is shown."""
        return self.wait("return document.querySelector('.alert span')?.textContent")

    def errors(self):
        """What the console of the browser complains of."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def psnr(one, other):
    error = np.mean((one.astype(float) - other) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9))
