"""Take screenshots of every page of the built documentation, on a wide and a narrow screen, and find overflow.

Usage, with Chromium and its driver installed (Debian: ``apt-get install chromium chromium-driver``) and
``pip install selenium``::

    sphinx-build -W docs docs/_build
    python docs/screenshots.py docs/_build docs/_build/screenshots

The screenshots are full pages. The exit status is 1 if anything is wider than the screen without a scroll bar of its
own, or if a table breaks a word; page, screen and element are printed.
"""

import argparse
import base64
import shutil
import sys
from pathlib import Path

from selenium import webdriver

WIDTHS = 1280, 400  # a laptop and a phone, in CSS pixels
HEIGHT = 900
HIGHEST = 16_000  # Chromium draws no higher screenshot
NOT_PAGES = (
    "_static",
    "_modules",
    "_downloads",
)  # parts of the theme, source code

# Elements beyond the right edge, except inside those that scroll and those that are hidden; and words of table cells on
# more than one line.
FIND_OVERFLOW = r"""
const name = element => {
    const classes = [...element.classList].map(each => "." + each).join("");
    const parent = element.closest("[id]");
    return `${parent && parent !== element ? "#" + parent.id + " " : ""}${element.localName}${classes}`;
};
const scrolls = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
const inScroller = element => {  // the whole article scrolls, too, but is not meant to
    const parent = element.parentElement;
    return !["article", "body"].includes(parent.localName) && (scrolls(parent) || inScroller(parent));
};
const shown = element => element.checkVisibility({ checkVisibilityCSS: true });
const width = window.innerWidth, found = [];
for (let each = document.querySelector("article"); each; each = each.parentElement)
    if (each.scrollWidth > each.clientWidth + 1)
        found.push(`${name(each)} is ${each.scrollWidth} pixels wide, on ${each.clientWidth}`);
for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width && box.height && box.right > width + 1 && shown(element) && !inScroller(element))
        found.push(`${name(element)} ends at ${Math.round(box.right)}: "${element.textContent.trim().slice(0, 40)}"`);
}
for (const cell of document.querySelectorAll("article td, article th")) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let text; (text = texts.nextNode()); )
        for (const word of text.data.matchAll(/[\p{L}\p{N}_]+/gu)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map(box => box.top)).size > 1)
                found.push(`${name(cell)} breaks the word "${word[0]}"`);
        }
}
return found;
"""


def open_browser(scheme):
    """Return a headless Chromium that shows the pages in a color scheme, "light" or "dark"."""
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    browser = webdriver.Chrome(
        options, webdriver.ChromeService(shutil.which("chromedriver"))
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [feature]}
    )
    return browser


def take(browser, page, width, target):
    """Open a page at a width, save a screenshot of all of it, and return what overflows."""
    screen = {
        "width": width,
        "height": HEIGHT,
        "deviceScaleFactor": 1,
        "mobile": False,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(page.resolve().as_uri())
    browser.execute_async_script("document.fonts.ready.then(arguments[0])")
    found = browser.execute_script(FIND_OVERFLOW)
    height = min(
        browser.execute_script(
            "return document.documentElement.scrollHeight"
        ),
        HIGHEST,
    )
    area = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = browser.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"clip": area, "captureBeyondViewport": True},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(taken["data"]))
    return found


def main():
    """Take the screenshots, and print what overflows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "html", type=Path, help="folder of the built documentation"
    )
    parser.add_argument(
        "screenshots", type=Path, help="folder to write the screenshots to"
    )
    parser.add_argument(
        "--only",
        default="**/*.html",
        help="pattern of the pages, such as 'guide/*.html'",
    )
    parser.add_argument(
        "--scheme", default="light", choices=["light", "dark"]
    )
    arguments = parser.parse_args()
    pages = [
        page
        for page in sorted(arguments.html.glob(arguments.only))
        if not {*page.parts} & {*NOT_PAGES}
    ]
    if not pages:
        parser.error(f"no pages {arguments.only} in {arguments.html}")
    n_found = 0
    browser = open_browser(arguments.scheme)
    try:
        for page in pages:
            name = page.relative_to(arguments.html)
            for width in WIDTHS:
                target = (
                    arguments.screenshots
                    / str(width)
                    / name.with_suffix(".png")
                )
                for text in take(browser, page, width, target):
                    print(f"{name} at {width}: {text}")
                    n_found += 1
    finally:
        browser.quit()
    print(
        f"{len(pages)} pages at {' and '.join(map(str, WIDTHS))} pixels: {n_found} overflows"
    )
    return int(n_found > 0)


if __name__ == "__main__":
    sys.exit(main())
