"""clients/php: under php-cli against the stack, and under php-fpm behind an nginx of its own."""

import hashlib
import hmac
import json
import os
import shutil
import subprocess
import time

import pytest
from conftest import CHECKOUT, read_settings
from php_site import php_site

PACKAGE = CHECKOUT / "clients/php"
SECRET = "the host application and the chat know it"


def php(code, **values):
    """Runs PHP code and returns its output, parsed as JSON."""
    text = f"<?php require '{PACKAGE}/autoload.php'; use Chat\\{{ChatException, Client, Tokens, Webhook}};\n{code}"
    done = subprocess.run(["php", "-d", "error_reporting=-1", "-d", "display_errors=stderr"], input=text, text=True,
                          capture_output=True, env={**os.environ, **values}, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.fixture(scope="session", autouse=True)
def php_is_here():
    assert shutil.which("php"), "php is missing: apt-get install php-cli php-curl"


def signature(body, at):
    return f"t={at},v1=" + hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def test_every_file_is_php():
    for file in PACKAGE.rglob("*.php"):
        assert subprocess.run(["php", "-l", file], capture_output=True).returncode == 0, file
    assert json.loads((PACKAGE / "composer.json").read_text())["autoload"]["psr-4"] == {"Chat\\": "src/"}


def test_tokens_are_taken_and_rooms_are_used(base_url, secret, ann, bob, tmp_path):
    photo = tmp_path / "notes.txt"
    photo.write_text("from PHP")
    found = php("""
        $tokens = new Tokens(getenv('SECRET'));
        $chat = Client::forUser(getenv('URL'), $tokens->issue(getenv('ANN'), 60));
        $room = $chat->post('/rooms', ['Type' => 'GROUP', 'Name' => 'us', 'Members' => [getenv('BOB')]]);
        $path = '/rooms/' . $room['ID'] . '/messages';
        foreach (range(1, 5) as $number) { $chat->post($path, ['Content' => "number $number"]); }
        $first = $chat->post($path, ['Content' => 'once'], 'a-key');
        $again = $chat->post($path, ['Content' => 'once'], 'a-key');
        $file = $chat->sendFile($room['ID'], getenv('FILE'));
        $all = [];
        foreach ($chat->each($path, ['limit' => 2], 'before') as $message) { $all[] = $message['Content']; }
        try { $chat->get('/rooms/' . getenv('ANN')); } catch (ChatException $error) {
            $refusal = [$error->status, $error->errorCode, $error->requestId !== ''];
        }
        echo json_encode([$room['ID'], $first['ID'] === $again['ID'], $file['File']['Name'], $all, $refusal, $chat->ticket()]);
        """, URL=base_url, SECRET=secret, ANN=ann.id, BOB=bob.id, FILE=str(photo))
    room, once, name, contents, refusal, ticket = found
    assert once and name == "notes.txt" and refusal == [404, "not_a_member", True]
    told = [text for text in contents if text.startswith("number") or text == "once"]
    assert told == ["once", "number 5", "number 4", "number 3", "number 2", "number 1"]
    assert {message["Content"] for message in bob.history(room)} >= set(told)
    # The ticket opens a socket only once.
    socket = ann.socket(headers={}, query=f"?ticket={ticket['Ticket']}")
    socket.close()


def test_a_service_that_is_away_is_said_so_and_tried_again():
    found = php("""
        $before = microtime(true);
        try { Client::forUser('http://127.0.0.1:1', 'x', attempts: 2)->get('/rooms'); } catch (ChatException $error) {
            echo json_encode([$error->status, $error->errorCode, microtime(true) - $before >= 0.3]);
        }""")
    assert found == [0, "unreachable", True]


def test_webhooks_are_verified():
    now = int(time.time())
    body = '{"ID": "1", "Event": "message.created"}'
    good = signature(body.encode(), now)
    cases = {
        "good": (body, good), "another body": (body + " ", good), "old": (body, signature(body.encode(), now - 3600)),
        "none": (body, ""), "junk": (body, "t=1,v1=zz"), "line break": (body, good + "\n"), "no JSON": ("x", signature(b"x", now)),
    }
    found = php("""
        $hook = new Webhook(getenv('SECRET'));
        $result = [];
        foreach (json_decode(getenv('CASES'), true) as $name => [$body, $signature]) {
            try { $result[$name] = $hook->verify($body, $signature)['Event']; }
            catch (\\UnexpectedValueException $error) { $result[$name] = false; }
        }
        echo json_encode($result);""", SECRET=SECRET, CASES=json.dumps(cases))
    assert found == {name: "message.created" if name == "good" else False for name in cases}


def test_short_secrets_and_odd_users_are_refused():
    found = php("""
        $result = [];
        foreach ([fn () => new Tokens('short'), fn () => new Webhook('short'),
                  fn () => (new Tokens(str_repeat('s', 32)))->issue(''), fn () => (new Tokens(str_repeat('s', 32)))->issue('a', 0)] as $try) {
            try { $try(); $result[] = 'taken'; } catch (\\InvalidArgumentException $error) { $result[] = 'refused'; }
        }
        echo json_encode($result);""")
    assert found == ["refused"] * 4


@pytest.fixture
def site(tmp_path, base_url):
    """A PHP application under php-fpm and nginx: one page for tickets, one for hooks."""
    (tmp_path / "app.php").write_text(f"""<?php
        require '{PACKAGE}/autoload.php';
        use Chat\\{{Client, Tokens, Webhook}};
        if ($_SERVER['REQUEST_URI'] === '/ticket') {{
            $token = (new Tokens($_SERVER['CHAT_SECRET']))->issue($_SERVER['HTTP_X_USER']);
            exit(json_encode(Client::forUser('{base_url}', $token)->ticket()));
        }}
        $question = (new Webhook('{SECRET}'))->receive();
        $verdicts = [];
        foreach ($question['Messages'] ?? [] as $message) {{
            if (str_contains($message['Content'], 'spam')) {{ $verdicts[] = Webhook::reject($message['ID'], 'no spam'); }}
        }}
        Webhook::answer($verdicts);""")
    with php_site(tmp_path, tmp_path / "app.php", CHAT_SECRET=read_settings()["JWT_SECRET"]) as socket:
        yield socket


def ask(site, path, *words, body=None):
    done = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", "--unix-socket", site, f"http://site{path}", *words,
                           *(["--data-binary", body] if body is not None else [])], capture_output=True, text=True, timeout=60)
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def test_a_host_under_php_fpm(site, ann):
    status, text = ask(site, "/ticket", "-H", f"X-User: {ann.id}")
    assert status == 200, text
    ann.socket(headers={}, query=f"?ticket={json.loads(text)['Ticket']}").close()
    body = json.dumps({"Messages": [{"ID": "1", "Content": "buy spam"}, {"ID": "2", "Content": "hello"}]})
    right = signature(body.encode(), int(time.time()))
    status, text = ask(site, "/check", "-H", f"X-Chat-Signature: {right}", body=body)
    assert (status, json.loads(text)) == (200, {"Verdicts": [{"ID": "1", "Action": "reject", "Reason": "no spam"}]})
    status, text = ask(site, "/check", "-H", f"X-Chat-Signature: {right}", body=body + " ")
    assert status == 403 and "does not match" in text
