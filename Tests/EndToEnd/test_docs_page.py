"""The page at /docs: its examples run, and in Chromium its search and its forms work, on a phone too."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import yaml
from browser import chromium, until, watched
from conftest import CHECKOUT

OPENAPI = yaml.safe_load((CHECKOUT / "docs/openapi.yaml").read_text())


def module(name):
    spec = importlib.util.spec_from_file_location(f"{name}_of_docs", CHECKOUT / f"deploy/docs/{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


examples, errors = module("examples"), module("errors")
ALL = [(method, path, operation) for path, item in OPENAPI["paths"].items()
       for method, operation in item.items() if method in ("get", "post", "put", "patch", "delete")]
OPERATIONS = [(method, OPENAPI["servers"][0]["url"] + path, operation) for method, path, operation in ALL if examples.has_examples(operation)]
PROGRAMS = {"curl": "bash", "JavaScript": "node", "PHP": "php", "Python": sys.executable}
SUFFIXES = {"curl": "sh", "JavaScript": "mjs", "PHP": "php", "Python": "py"}
# A text has no picture, and this store may take no parts from clients.
MAY_BE_REFUSED = {"thumbnail": {404}, "presignChunks": {409}}
# Each runs all examples of its language, one after the other, and writes a line of JSON for each: its number and its output.
RUNNERS = {
    "curl": """
while IFS=$'\\t' read -r file values; do
  ( eval "export $values"; . "./$file.sh" > said 2>&1; printf '["%s","%s"]\\n' "$file" "$(head -c 3 said)" )
done < jobs.tsv
""",
    "JavaScript": """
import { readFileSync } from 'node:fs';
const told = console.log;
for (const [file, values] of JSON.parse(readFileSync('jobs.json'))) {
  Object.assign(process.env, values);
  let said = '';
  console.log = (...words) => { said += words.join(' '); };
  try { await import(`${process.cwd()}/${file}.mjs`); } catch (error) { said = String(error); }
  told(JSON.stringify([file, said]));
}
""",
    "PHP": """<?php
$run = function ($file) { ob_start(); try { include "./$file.php"; } catch (Throwable $error) { echo $error; } return ob_get_clean(); };
foreach (json_decode(file_get_contents('jobs.json'), true) as [$file, $values]) {
    foreach ($values as $name => $value) putenv("$name=$value");
    echo json_encode([$file, $run($file)], JSON_INVALID_UTF8_SUBSTITUTE), "\\n";
}
""",
    "Python": """
import contextlib, io, json, os, runpy, urllib.error
for file, values in json.load(open("jobs.json")):
    os.environ.update(values)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(f"{file}.py")
        said = said.getvalue()
    except urllib.error.HTTPError as error:
        said = f"{error.code} {error.read().decode()}"
    except Exception as error:
        said = repr(error)
    print(json.dumps([file, said]), flush=True)
"""}


def values_for(me, other, language):
    """The environment of the examples. Those that take something away get their own."""
    room = me.group(other)
    messages = [me.data("POST", f"/rooms/{room}/messages", {"Content": f"hello {number}"}, 201)["ID"] for number in range(8)]
    here = {"CHAT": me.base_url, "TOKEN": me.token, "ROOM": room, "MESSAGE": messages[0], "USER": other.id, "DEVICE": f"device-{language}",
            "EMOJI": "%F0%9F%91%8D", "INVITATION": me.data("POST", f"/rooms/{room}/invitations", {"MaxUses": 2}, 201)["ID"]}

    theirs = other.data("POST", f"/rooms/{room}/messages", {"Content": "bad"}, 201)["ID"]
    here["REPORT"] = me.data("PUT", f"/messages/{theirs}/report", {"Reason": "abuse"}, 201)["ID"]

    def file(whole):
        if not whole:
            return me.data("POST", f"/rooms/{room}/messages", {"Content": "notes.txt", "ContentType": "file"}, 201)["ID"]
        answer = requests.post(f"{me.base_url}/api/v1/rooms/{room}/files", headers={"Authorization": f"Bearer {me.token}"},
                               files={"File": ("notes.txt", b"hello")}, timeout=30)
        return answer.json()["Data"]["ID"]
    own = {"deleteRoom": {"ROOM": me.group(other)}, "removeMember": {"ROOM": me.group(other)}, "deleteMessage": {"MESSAGE": messages[1]}, "reportMessage": {"MESSAGE": theirs},
           **{name: {"MESSAGE": file(False)} for name in ("uploadChunk", "uploadState", "abortUpload", "presignChunks", "abortFile")},
           **{name: {"MESSAGE": file(True)} for name in ("completeUpload", "download", "thumbnail")}}
    return {operation["operationId"]: {**here, **own.get(operation["operationId"], {})} for _, _, operation in OPERATIONS}


def run_all(language, me, other, folder):
    """{operation: the status that its example was answered with}"""
    folder.mkdir()
    (folder / "notes.txt").write_text("hello")
    invitation = other.data("POST", f"/rooms/{other.group()}/invitations", {"MaxUses": 1}, 201)["Token"]
    values, jobs = values_for(me, other, language), []
    for method, path, operation in OPERATIONS:
        name, text = operation["operationId"], examples.of(method, path, operation)[language]
        # In the place of names that one reader alone can have.
        for made_up, real in [("5e9d2c7b8a4f4d1e9c0b7a6f5e4d3c2b", invitation), ("gAAAAABk", invitation)]:
            text = text.replace(made_up, real)
        if language == "curl":
            text = text.replace("curl ", "curl -s -o answer -w '%{http_code}' ", 1)
        (folder / f"{name}.{SUFFIXES[language]}").write_text(text)
        jobs.append((name, values[name]))
    (folder / "jobs.json").write_text(json.dumps(jobs))
    (folder / "jobs.tsv").write_text("".join(f"{name}\t{' '.join(f'{key}={value}' for key, value in mine.items())}\n" for name, mine in jobs))
    runner = folder / f"all.{SUFFIXES[language]}"
    runner.write_text(RUNNERS[language])
    done = subprocess.run([PROGRAMS[language], runner.name], cwd=folder, capture_output=True, text=True, timeout=240)
    said = dict(json.loads(line) for line in done.stdout.splitlines())
    assert set(said) == {name for name, _ in jobs}, f"{language}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert all(re.match(r"\d{3}\b", one) for one in said.values()), (language, {name: one for name, one in said.items() if not re.match(r"\d{3}\b", one)})
    return {name: int(one[:3]) for name, one in said.items()}


def test_all_examples_run(base_url, make_user, tmp_path):
    """The text of the page, of each operation, in each language, against this stack."""
    missing = [language for language, name in PROGRAMS.items() if not shutil.which(name)]
    if missing:
        print("not run, their programs are missing:", missing)
    languages = [language for language in examples.LANGUAGES if language not in missing]
    with ThreadPoolExecutor(len(languages)) as threads:
        users = [(make_user(), make_user()) for _ in languages]
        done = dict(zip(languages, threads.map(lambda language, pair: run_all(language, *pair, tmp_path / language), languages, users)))
    wrong = {}
    for _, _, operation in OPERATIONS:
        name = operation["operationId"]
        allowed = {int(one) for one in operation["responses"] if one < "400"} | MAY_BE_REFUSED.get(name, set())
        wrong |= {f"{name} {language}": done[language][name] for language in languages if done[language][name] not in allowed}
    assert wrong == {} and len(OPERATIONS) > 45 and "curl" in done


def test_each_error_of_an_operation_has_its_codes():
    """The page names the codes of each status that an operation lists, and each code that REST has belongs to some operation."""
    named = set()
    for _, path, operation in ALL:
        found = errors.of(OPENAPI, path, operation)
        assert set(found) == {status for status in operation["responses"] if status >= "400"}
        assert all(found.values()), operation["operationId"]
        named |= {code for codes in found.values() for code in codes}
    # 405 and 500 are no operation's own, and one code is the socket's.
    assert named == set(OPENAPI["components"]["schemas"]["ErrorCode"]["enum"]) - {"unknown_type", "method_not_allowed", "internal"}
    # And the statuses are those of the program.
    source = (CHECKOUT / "Sources/Common/Domain/Refusal.swift").read_text()
    names = {case: text or case for case, text in re.findall(r"^    case (\w+)(?: = \"(\w+)\")?$", source, re.M)}
    statuses = {names[case]: status for cases, status in re.findall(r"case (\..*): (\d{3})", source) for case in re.findall(r"\.(\w+)", cases)}
    assert {code: status for code, (status, _) in errors.meanings(OPENAPI).items() if status} == {
        code: status for code, status in statuses.items() if code != "unknown_type"}


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
