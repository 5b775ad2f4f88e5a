"""The page at / of `make run`, in Chromium: two people talk through reloads and kills, on a phone, in the dark, by keyboard."""

import hashlib
import re
import time
from pathlib import Path

import pytest
import requests
from browser import chromium, until, watched
from client import make_token
from conftest import CHECKOUT, thorough
from waiting import eventually

SYNCED = "globalThis.panes?.length === 2 && panes.every(({chat}) => chat.synced)"
QUIET = "panes.every(({chat}) => chat.synced && !chat.queue.length)"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def demo(base_url):
    return requests.get(f"{base_url}/demo.json", timeout=10).json()


def ask(base_url, demo, method, path, who=0, **more):
    headers = {"Authorization": f"Bearer {demo['Users'][who]['Token']}"}
    return requests.request(method, f"{base_url}/api/v1{path}", headers=headers, timeout=30, **more)


@pytest.fixture
def room(base_url, demo):
    """A room of the two, for one test."""
    body = {"Type": "GROUP", "Name": f"test {time.monotonic_ns()}", "Members": [demo["Users"][1]["ID"]]}
    return ask(base_url, demo, "POST", "/rooms", json=body).json()["Data"]


def opened(browser, base_url, path="/", **options):
    page = browser.new_context(**options).new_page()
    page.said = watched(page)
    page.goto(base_url + path)
    until(page, SYNCED)
    return page


@pytest.fixture
def page(browser, base_url):
    page = opened(browser, base_url, viewport={"width": 1280, "height": 900})
    yield page
    page.context.close()
    assert not page.said, page.said


def enter(page, room, people=("Ann", "Bob"), whole=True):
    """Both go into the room that the list shows."""
    for name in people:
        page.get_by_role("navigation", name=f"Rooms: {name}").get_by_role("button", name=room["Name"]).click()
    until(page, f"id => panes.every(({{room, chat}}) => room === id && (chat.rooms.get(id).complete || {str(not whole).lower()}))" if len(people) == 2 else
          "id => panes.some(({room}) => room === id)", room["ID"])


def say(page, name, text):
    page.get_by_label(f"Message: {name}").fill(text)
    page.get_by_label(f"Message: {name}").press("Enter")


def log_of(page, name):
    return page.get_by_role("log", name=f"Messages of {name}")


def test_two_people_talk(page, base_url, demo, room):
    enter(page, room)
    ann, bob = log_of(page, "Ann"), log_of(page, "Bob")
    say(page, "Ann", "Shall we meet under the old bridge?")
    bob.get_by_text("Shall we meet under the old bridge?").wait_for()
    bob.get_by_role("button", name="Reply").click()
    say(page, "Bob", "Yes, at noon")
    ann.locator("article", has_text="Yes, at noon").locator("blockquote", has_text="old bridge").wait_for()
    # Typing, a reaction, an edit, a seen mark, a deletion.

    def is_seen_writing():
        page.get_by_label("Message: Bob").press_sequentially("x", delay=100)
        return page.get_by_text("Bob is writing").count()

    eventually(is_seen_writing, 30, pause=0)
    ann.locator("article", has_text="at noon").get_by_role("button", name="Like").click()
    bob.locator("article", has_text="Yes, at noon").locator("footer", has_text="👍 1").wait_for()
    ann.locator("article", has_text="old bridge?").get_by_role("button", name="Edit").click()
    say(page, "Ann", "Shall we meet at the new bridge?")
    bob.locator("article", has_text="new bridge?").locator("footer", has_text="edited").wait_for()
    ann.locator("article", has_text="new bridge?").locator("footer", has_text="seen").first.wait_for()
    ann.locator("article", has_text="new bridge?").get_by_role("button", name="Read by").first.click()
    ann.locator("footer", has_text="Read by: Bob").wait_for()
    page.get_by_role("search", name="Search: Bob").get_by_role("searchbox").fill("noon")
    page.get_by_role("search", name="Search: Bob").get_by_role("button").click()
    page.locator(".hits mark", has_text="noon").first.wait_for()
    page.locator(".hits button", has_text="Yes, at noon").first.click()
    until(page, "document.activeElement.matches('article.found')")
    bob.locator("article", has_text="Yes, at noon").get_by_role("button", name="Delete").click()
    ann.get_by_text("This message was deleted").first.wait_for()
    # Unread is counted where nobody looks.
    other = ask(base_url, demo, "POST", "/rooms", json={"Type": "GROUP", "Name": f"{room['Name']} b", "Members": [demo["Users"][1]["ID"]]}).json()["Data"]
    for text in ("one", "two"):
        ask(base_url, demo, "POST", f"/rooms/{other['ID']}/messages", json={"Content": text})
    item = page.get_by_role("navigation", name="Rooms: Bob").locator("button", has_text=other["Name"])
    item.locator("small", has_text="two").wait_for()
    item.locator(".badge", has_text="2").wait_for()
    enter(page, other, ["Bob"])
    bob.get_by_text("two").wait_for()
    until(page, "id => panes[1].chat.rooms.get(id).unread === 0", other["ID"])


def test_nobody_misses_a_frame(page, base_url, demo, room):
    enter(page, room)
    page.get_by_role("button", name="Let both write").click()
    faults = ["reload-relay", "kill-relay", "reload-worker", "kill-worker"]
    for number, fault in enumerate(faults, 1):
        until(page, "count => panes[0].chat.rooms.get(panes[0].room).list().length >= count", 3 * number)
        page.locator(f"[data-fault={fault}]").click()
        until(page, "count => globalThis.strikes === count", number)
    told = page.locator("#happened li").all_inner_texts()
    assert len(told) == len(faults) and all(re.search(r": both were answered after \d+ ms, \d+ connections lost", line) for line in told), told
    # Then the page itself is loaded again. It sends the waiting messages afterwards, from the store.
    page.get_by_role("button", name="Stop writing").click()
    # A message of which the store knows nothing yet may be lost by a reload: nothing of it has gone out either.
    page.evaluate("Promise.all(panes.map(({chat}) => chat.flush())).then(() => true)")
    page.reload()
    until(page, SYNCED)
    until(page, QUIET)
    enter(page, room, whole=False)
    page.evaluate("async id => { for (const {chat} of panes) while (await chat.loadOlder(id)); }", room["ID"])
    stored, following = [], "limit=10"
    while following is not None:
        answer = ask(base_url, demo, "GET", f"/rooms/{room['ID']}/messages?{following}").json()
        stored += answer["Data"]
        following = answer["Next"] and f"limit=10&before={answer['Data'][-1]['Seq']}"
    texts = [message["Content"] for message in reversed(stored)]
    assert len(texts) >= 12 and sorted(map(int, texts)) == list(range(1, len(texts) + 1))
    until(page, "([id, count]) => panes.every(({chat}) => chat.rooms.get(id).list().length === count)", [room["ID"], len(texts)])
    for at in (0, 1):
        assert page.evaluate("([at, id]) => panes[at].chat.rooms.get(id).list().map(one => one.Content)", [at, room["ID"]]) == texts
        log = log_of(page, ["Ann", "Bob"][at])
        until(page, "([at, count]) => panes[at].element.querySelectorAll('article > p').length === count", [at, len(texts)])
        assert log.locator("article > p").all_inner_texts() == texts
    assert page.locator("#total").inner_text() == "Frames missed: 0 · doubled: 0"
    # It is drawn once a second.
    page.locator("#drawn svg .open").first.wait_for(state="attached")
    # The log of Chromium names each socket that a fault closed.
    page.said[:] = [line for line in page.said if "WebSocket" not in line and "ERR_" not in line and "50" not in line]


def test_what_was_said_before_a_reload_is_stored_once(page, base_url, demo, room):
    for number in range(4):
        # Written to the store, and then at any moment of its way: the page goes.
        page.evaluate("""async ([id, text, wait]) => {
          const {chat} = panes[0];
          chat.send(id, text);
          await chat.flush();
          await new Promise(done => setTimeout(done, wait));
        }""", [room["ID"], f"text {number}", 7 * number])
        page.reload()
        until(page, SYNCED)
    # Said while there is no connection at all.
    page.evaluate("""async ([id, text]) => {
      const {chat} = panes[0];
      await chat.close();
      chat.send(id, text);
      await chat.flush();
    }""", [room["ID"], "text 4"])
    page.reload()
    until(page, SYNCED)
    until(page, QUIET)
    stored = ask(base_url, demo, "GET", f"/rooms/{room['ID']}/messages").json()["Data"]
    assert sorted(message["Content"] for message in stored) == [f"text {number}" for number in range(5)]


def test_a_large_file_goes_on_after_a_reload(page, base_url, demo, room, tmp_path, reconfigure):
    a_file_goes_on(page, base_url, demo, room, tmp_path, reconfigure, 50)


@thorough
def test_half_a_gibibyte_goes_on_after_a_reload(page, base_url, demo, room, tmp_path, reconfigure):
    a_file_goes_on(page, base_url, demo, room, tmp_path, reconfigure, 500)


def a_file_goes_on(page, base_url, demo, room, tmp_path, reconfigure, size):
    """`size` in MiB."""
    reconfigure("fcgi-api", S3_MAX_UPLOAD_SIZE=(size + 14) << 20)
    path = tmp_path / "large.bin"
    block = hashlib.sha256(b"large").digest() * 32768
    with open(path, "wb") as file:
        for _ in range(size):
            file.write(block)
    chunks = size // 5
    enter(page, room)
    section = page.get_by_role("region", name="Ann")
    # However fast this machine is: the upload stops at two chunks, and the page goes when four are stored.
    page.evaluate("""() => {
      let paused = false;
      panes[0].chat.on('upload', one => {
        const stored = one.loaded.filter(Boolean).length;
        if (one.state === 'running' && stored >= 2 && !paused) { paused = true; one.pause(); }
        else if (one.state === 'running' && stored >= 4 && !sessionStorage.stored) { sessionStorage.stored = stored; location.reload(); }
      });
    }""")
    section.locator("input[type=file]").set_input_files(path)
    section.get_by_role("button", name="Continue").wait_for()
    section.get_by_text(re.compile(rf"large.bin .* of {chunks} chunks")).wait_for()
    assert section.locator(".chunks progress").count() == chunks
    with page.expect_navigation():
        section.get_by_role("button", name="Continue").click()
    until(page, SYNCED)
    before = int(page.evaluate("sessionStorage.stored"))
    message = until(page, "id => panes[1].chat.rooms.get(id)?.lastMessage?.File && panes[1].chat.rooms.get(id).lastMessage", room["ID"], seconds=180 + 3 * size)
    assert before < chunks and message["File"]["Size"] == path.stat().st_size
    got = ask(base_url, demo, "GET", f"/files/{message['ID']}", who=1)
    assert hashlib.sha256(got.content).digest() == hashlib.sha256(path.read_bytes()).digest()
    until(page, "panes[0].chat.uploads.size === 0")


def test_a_dropped_picture_is_shown(page, room):
    enter(page, room)
    page.evaluate("""async () => {
      const canvas = Object.assign(document.createElement('canvas'), {width: 64, height: 48}), pen = canvas.getContext('2d');
      pen.fillStyle = 'tomato'; pen.fillRect(0, 0, 64, 48); pen.fillStyle = 'teal'; pen.fillRect(0, 0, 30, 48);
      const blob = await new Promise(done => canvas.toBlob(done, 'image/png')), data = new DataTransfer();
      data.items.add(new File([blob], 'flag.png', {type: 'image/png'}));
      panes[0].element.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
    }""")
    for name in ("Ann", "Bob"):
        log_of(page, name).get_by_role("img", name="flag.png").first.wait_for()
    until(page, "[...document.querySelectorAll('article img')].filter(one => one.complete && one.naturalWidth > 0).length === 2")


def test_history_has_no_end(page, base_url, demo, room):
    for number in range(60):
        ask(base_url, demo, "POST", f"/rooms/{room['ID']}/messages", who=number % 2, json={"Content": f"number {number}"}).raise_for_status()
    until(page, "id => panes[1].chat.rooms.get(id)?.info.LastSeq >= 60", room["ID"])
    page.get_by_role("navigation", name="Rooms: Bob").get_by_role("button", name=room["Name"]).click()
    log = log_of(page, "Bob")
    log.get_by_text("number 59", exact=True).wait_for()
    # Nothing but going to the top, as a person does.

    def has_the_oldest():
        log.evaluate("one => { one.scrollTop = 0; }")
        return log.get_by_text("number 0", exact=True).count()

    eventually(has_the_oldest, pause=0)
    assert log.locator("article > p").all_inner_texts() == [f"number {number}" for number in range(60)]
    log.get_by_text("The room begins here").wait_for()
    # Rows that are scrolled out of view do not make the page taller than its last line.
    tall = page.evaluate("[document.documentElement.scrollHeight, document.querySelector('body > footer').getBoundingClientRect().bottom + scrollY]")
    assert tall[0] < tall[1] + 100


def test_a_form_without_javascript(browser, base_url, demo, tmp_path):
    (tmp_path / "plain.txt").write_text("no script at all")
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(base_url)
        page.locator("noscript a").click()
        page.get_by_role("group", name="From Bob").locator("input[type=file]").set_input_files(tmp_path / "plain.txt")
        page.get_by_role("button", name="Send as Bob").click()
        page.get_by_role("link", name="Back to the two of them").wait_for()
        assert page.url == f"{base_url}/plain.html"
    finally:
        context.close()
    newest = ask(base_url, demo, "GET", f"/rooms/{demo['RoomID']}/messages?limit=1").json()["Data"][0]
    assert newest["File"]["Name"] == "plain.txt" and newest["SenderID"] == demo["Users"][1]["ID"]


AXE = "async () => (await axe.run()).violations.map(one => [one.id, one.impact, one.nodes.map(node => node.target.join(' '))])"


def test_everybody_can_use_it(browser, base_url, room):
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    page = opened(browser, base_url)
    try:
        page.evaluate("id => panes[0].chat.send(id, 'A word\\nand a_very_long_word_' + 'x'.repeat(300))", room["ID"])
        for language, direction, width, scheme in [("en", "ltr", 1280, "light"), ("ar", "rtl", 390, "dark")]:
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{base_url}/?lang={language}")
            until(page, SYNCED)
            page.locator(f"[data-room='{room['ID']}'] button").first.click()
            page.locator("article button").first.click()
            assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == [language, direction]
            page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
            assert page.evaluate(AXE) == [], language
            wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide[0] <= wide[1], language
    finally:
        page.context.close()


def test_the_keyboard_keeps_its_place(page, base_url, demo, room):
    enter(page, room)
    say(page, "Ann", "hold me")
    button = log_of(page, "Bob").locator("article", has_text="hold me").get_by_role("button", name="Reply")
    button.focus()
    # The row is made anew by a reaction, and others come below it.
    message = until(page, "id => panes[1].chat.rooms.get(id).list()[0]?.ID", room["ID"])
    ask(base_url, demo, "PUT", f"/messages/{message}/reactions/%F0%9F%91%8D").raise_for_status()
    ask(base_url, demo, "POST", f"/rooms/{room['ID']}/messages", json={"Content": "and more"}).raise_for_status()
    log_of(page, "Bob").locator("footer", has_text="👍 1").wait_for()
    log_of(page, "Bob").get_by_text("and more").wait_for()
    assert page.evaluate("document.activeElement.dataset.act") == "reply"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Message: Bob"
    page.keyboard.type("answered by keyboard")
    page.keyboard.press("Enter")
    log_of(page, "Ann").locator("article", has_text="answered by keyboard").locator("blockquote", has_text="hold me").wait_for()


def test_the_buttons_need_the_pages_secret(base_url, demo):
    secret = {"X-Chat-Fault": demo["Secret"]}
    assert requests.post(f"{base_url}/faults/kill-relay", timeout=10).status_code == 403
    assert requests.post(f"{base_url}/faults/kill-relay", headers={"X-Chat-Fault": "x" * len(demo["Secret"])}, timeout=10).status_code == 403
    assert requests.get(f"{base_url}/faults/kill-relay", headers=secret, timeout=10).status_code == 403
    assert requests.post(f"{base_url}/faults/kill-everything", headers=secret, timeout=10).status_code == 404
    # By a name that somebody else made lead to this machine, neither the secret nor the buttons are there.
    elsewhere = {"Host": "rebound.example"}
    assert requests.get(f"{base_url}/demo.json", headers=elsewhere, timeout=10).status_code == 404
    assert requests.get(f"{base_url}/plain.html", headers=elsewhere, timeout=10).status_code == 404
    assert requests.post(f"{base_url}/faults/kill-relay", headers={**secret, **elsewhere}, timeout=10).status_code == 404
    assert "Access-Control-Allow-Origin" not in requests.get(f"{base_url}/demo.json", headers={"Origin": "https://evil.example"}, timeout=10).headers
    # An installed server has no such address.
    for path in [*(CHECKOUT / "nginx/include").iterdir(), CHECKOUT / "deploy/package/stage", *(CHECKOUT / "deploy/systemd").iterdir()]:
        assert "faults" not in path.read_text(), path


def test_names_are_those_of_the_host(page, base_url, demo, room, secret):
    def called(name, picture=""):
        token = make_token(secret, demo["Users"][0]["ID"], iat=round(time.time(), 3), name=name, picture=picture)
        requests.get(f"{base_url}/api/v1/account", headers={"Authorization": f"Bearer {token}"}, timeout=30).raise_for_status()
    enter(page, room)
    say(page, "Ann", "whose words are these")
    row = log_of(page, "Bob").locator("article", has_text="whose words are these")
    row.locator(".who", has_text="Ann").wait_for()
    try:
        called("Ann Other", f"{base_url}/icon.svg")
        row.locator(".who", has_text="Ann Other").wait_for()
        until(page, "document.querySelector('article .avatar')?.naturalWidth > 0")
    finally:
        called("Ann")
    until(page, "document.querySelector('article .who')?.textContent === 'Ann'")
