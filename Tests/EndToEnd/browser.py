"""Chromium, driven by playwright. The pages' policy forbids eval, so conditions are asked for again and again from here."""

import shutil
from contextlib import contextmanager

import pytest
from waiting import eventually


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
    return eventually(lambda: page.evaluate(condition, value), seconds,
                      lambda: f"still not: {condition} {value or ''}: {page.evaluate(STATE)}")


STATE = """JSON.stringify((globalThis.panes ?? []).map(({chat, room}) =>
  [chat.state, chat.synced, chat.stats, chat.queue.length, chat.rooms.get(room)?.list().length]))"""


def watched(page):
    """The errors that the page writes to the console or does not catch."""
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said
