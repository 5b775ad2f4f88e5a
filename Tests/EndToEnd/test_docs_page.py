"""The page at /docs: its examples run, and in Chromium its search and its forms work, on a phone too."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import requests
import yaml
from browser import chromium, until, watched
from conftest import CHECKOUT

OPENAPI = yaml.safe_load((CHECKOUT / "docs/openapi.yaml").read_text())
spec = importlib.util.spec_from_file_location("examples_of_docs", CHECKOUT / "deploy/docs/examples.py")
examples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(examples)

OPERATIONS = [(method, OPENAPI["servers"][0]["url"] + path, operation) for path, item in OPENAPI["paths"].items()
              for method, operation in item.items() if method in ("get", "post", "put", "patch", "delete") and examples.has_examples(operation)]
# A request of each shape: without a body, with one, with a query, with quotes of each language in its path.
IN_ALL = {"send", "sendFiles", "searchRoom", "addReaction"}
# The next example needs another room or message.
USES_UP = {"deleteRoom", "removeMember", "deleteMessage"}
# Their examples name somebody or something that is not there, or the room is not fit for them.
MAY_BE_REFUSED = {"joinRoom", "changeMember", "addMembers", "removeMember", "revokeInvitation", "uploadState", "abortUpload", "presignChunks",
                  "completeUpload", "download", "abortFile", "thumbnail", "unregisterDevice", "markSeen", "createInvitation", "registerDevice"}


def command(language, folder):
    if language == "curl":
        return ["bash", folder / "example.sh"]
    if language == "JavaScript":
        return ["node", folder / "example.mjs"]
    if language == "PHP":
        return ["php", folder / "example.php"]
    return ["python3", folder / "example.py"]


def run(language, text, folder, values):
    """The status that the example was answered with."""
    if language == "curl":
        text = text.replace("curl ", "curl -s -o answer -w '%{http_code}' ", 1)
    suffix = {"curl": "sh", "JavaScript": "mjs", "PHP": "php", "Python": "py"}[language]
    (folder / f"example.{suffix}").write_text(text)
    (folder / "notes.txt").write_text("hello")
    done = subprocess.run(command(language, folder), cwd=folder, capture_output=True, text=True, timeout=60, env={**os.environ, **values})
    if language == "Python" and (refused := re.search(r"HTTP Error (\d+)", done.stderr)):
        return int(refused[1])
    assert re.match(r"\d{3}\b", done.stdout), f"{language}: {text}\n{done.stdout}{done.stderr}"
    return int(done.stdout[:3])


def test_the_examples_run(base_url, ann, bob, tmp_path):
    programs = {"curl": "curl", "JavaScript": "node", "PHP": "php", "Python": "python3"}
    missing = [language for language, name in programs.items() if not shutil.which(name)]
    if missing:
        print("not run, their programs are missing:", missing)
    languages = [language for language in examples.LANGUAGES if language not in missing]
    seen, said, values = set(), {}, None
    for number, (method, path, operation) in enumerate(OPERATIONS):
        name = operation["operationId"]
        made = examples.of(method, path, operation)
        # All are made by the same four functions. THOROUGH=1 runs each of them, else every third operation runs in one language.
        one = [languages[number // 3 % len(languages)]] if number % 3 == 0 else []
        chosen = languages if name in IN_ALL or os.environ.get("THOROUGH") else one
        for language in chosen:
            if language not in made:
                continue
            if not values:
                room = ann.group(bob)
                message = requests.post(f"{base_url}/api/v1/rooms/{room}/messages", timeout=30, headers={"Authorization": f"Bearer {ann.token}"},
                                        json={"Content": "hello"}).json()["Data"]["ID"]
                values = {"CHAT": base_url, "TOKEN": ann.token, "ROOM": room, "MESSAGE": message, "USER": bob.id, "DEVICE": "device-1",
                          "EMOJI": "%F0%9F%91%8D", "INVITATION": message}
            text = re.sub(r"unique-sign-\w+", f"sign-{number}-{language}", made[language])
            status = run(language, text, tmp_path, values)
            said[f"{name} {language}"] = status
            values = None if name in USES_UP else values
            seen.add(language)
            allowed = {int(one) for one in operation["responses"]} - {400, 401, 403, 405, 415, 500}
            if name not in MAY_BE_REFUSED:
                allowed = {one for one in allowed if one < 400}
            assert status in allowed, f"{name} {language}: {status}\n{text}"
    print(said)
    assert seen == set(languages) and "curl" in seen


def test_every_example_is_on_the_page(base_url):
    page = requests.get(f"{base_url}/docs", timeout=10).text
    assert page.count('<details class="code">') == len(OPERATIONS) > 40
    assert page.count("<h5>curl</h5>") == len(OPERATIONS)


def test_it_works_in_chromium(base_url, ann, bob):
    room = ann.group(bob)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        said = watched(page)
        page.goto(f"{base_url}/docs")
        page.get_by_label("Search").fill("reaction messages put")
        until(page, "document.querySelectorAll('details.entry:not([hidden])').length < 5")
        assert page.locator("#addReaction").is_visible() and not page.locator("#createRoom").is_visible()
        page.get_by_label("Search").fill("")
        page.get_by_label("Token").fill(ann.token)
        entry = page.locator("#send")
        entry.locator("summary").first.click()
        entry.get_by_label("room").fill(room)
        entry.get_by_label("Body").fill(json.dumps({"Content": "said by the page"}))
        entry.get_by_role("button", name="POST it").click()
        entry.get_by_label("Answer").get_by_text("201 ").wait_for()
        assert ann.history(room)[0]["Content"] == "said by the page"
        page.get_by_role("button", name="Use the demo token").click()
        assert page.get_by_label("Token").input_value().count(".") == 2
        # Everything open, nothing wider than the phone.
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] <= wide[1]
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = one.id === 'history'")
        if axe := importlib.util.find_spec("axe_playwright_python"):
            page.evaluate((Path(axe.origin).parent / "axe.min.js").read_text())
            found = page.evaluate("async () => (await axe.run({include: [['#tools'], ['nav'], ['#history']]})).violations.map(one => [one.id, one.nodes.slice(0, 3).map(node => node.html)])")
            assert found == []
        # No page asks for the icon that Chromium asks for.
        assert [line for line in said if "404" not in line] == []
