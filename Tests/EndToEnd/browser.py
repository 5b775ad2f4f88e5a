"""Chromium, driven by playwright. The pages' policy forbids eval, so conditions are asked for again and again from here."""

import shutil
import time
from contextlib import contextmanager

import pytest


@contextmanager
def chromium():
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def until(page, condition, value=None, seconds=60):
    """The first answer of `condition` (an expression or a function of `value`) that is true."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(condition, value)):
        assert time.monotonic() < end, f"still not: {condition} {value or ''}: {page.evaluate(STATE)}"
        time.sleep(0.05)
    return found


STATE = """JSON.stringify((globalThis.panes ?? []).map(({chat, room}) =>
  [chat.state, chat.synced, chat.stats, chat.queue.length, chat.rooms.get(room)?.list().length]))"""


def watched(page):
    """The errors that the page writes to the console or does not catch."""
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said
