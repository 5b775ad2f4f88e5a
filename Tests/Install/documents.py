"""The commands of pages of docs, by heading: the tests run exactly what people read."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("install", "upgrade", "operate", "scale", "pools", "troubleshooting", "backup")
ran = set()


def blocks(page):
    """[(heading, script)] of a page's ```sh blocks."""
    found, heading = [], ""
    for match in re.finditer(r"^## (?P<heading>[^\n]+)$|^```sh\n(?P<script>.*?)^```$", (DOCS / f"{page}.md").read_text(), re.M | re.S):
        if match["heading"]:
            heading = match["heading"]
        else:
            found.append((heading, match["script"]))
    return found


def commands(page, heading, place=0):
    """The script of the place-th block under a heading; marks it as run."""
    ran.add((page, heading, place))
    return [script for found, script in blocks(page) if found == heading][place]


def all_blocks(pages=PAGES):
    for page in pages:
        counts = {}
        for heading, _ in blocks(page):
            place = counts[heading] = counts.get(heading, -1) + 1
            yield page, heading, place
