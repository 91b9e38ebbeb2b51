"""Take the pictures of the audit: `python docs/tools/screenshots.py STORE REPORT [PHOTOS]`.

Needs chromium and chromedriver. STORE: one that `vitrina audit` has gone over; REPORT: its page.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

ASSETS = Path(__file__).parent.parent / "assets"
PORT = 8797
REVIEWER = {"en": "Anna", "ru": "Анна"}


def browser(language: str) -> webdriver.Chrome:
    """A browser without a window, for pages in a language."""
    options = webdriver.ChromeOptions()
    for one in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(one)
    options.add_argument(f"--lang={language}")
    options.add_argument("--window-size=1280,860")
    options.add_argument("--force-device-scale-factor=1")
    options.binary_location = "/usr/bin/chromium"
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def review(store: str, language: str, file: Path, photos: list[str]) -> None:
    """The review page, in a language."""
    command = [sys.executable, "-m", "vitrina.cli", "review", store, "--port", str(PORT)]
    serves = subprocess.Popen([*command, "--language", language, *photos])
    address = f"http://127.0.0.1:{PORT}/"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(address).close()
                break
            except OSError:
                time.sleep(0.5)
        shoot(address, language, file)
    finally:
        serves.terminate()
        serves.wait()


def shoot(address: str, language: str, file: Path) -> None:
    """A page as a picture; of the review page a product, by a reviewer."""
    driver = browser(language)
    try:
        driver.get(address)
        time.sleep(1)
        for name in driver.find_elements(
            By.CSS_SELECTOR, "form input[type=text], form input:not([type])"
        ):
            name.send_keys(REVIEWER[language], Keys.ENTER)
            break
        time.sleep(2)
        driver.save_screenshot(str(file))
    finally:
        driver.quit()


def main(store: str, report: str, photos: list[str]) -> None:
    """Take all of them."""
    options = ["--images", photos[0]] if photos else []
    shoot(Path(report).absolute().as_uri() + "#suspects", "en", ASSETS / "report.png")
    for language, name in (("en", "review.png"), ("ru", "review.ru.png")):
        review(store, language, ASSETS / name, options)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
