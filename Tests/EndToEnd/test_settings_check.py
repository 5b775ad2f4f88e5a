"""`-t` and `-tt`: what is wrong with the settings, where it stands, and what is in force."""

import fcntl
import os
import subprocess

import pytest
from conftest import program


@pytest.fixture
def check(tmp_path, settings):
    def run(*words, name="fcgi-api", environment=None, **changed):
        path = tmp_path / "chat.env"
        path.write_text("# ours\n" + "".join(f"{key}={value}\n" for key, value in {**settings, **changed}.items()))
        done = subprocess.run([program(name), *words, "-c", path], capture_output=True, text=True,
                              env={**os.environ, **(environment or {})})
        lines = path.read_text().splitlines()
        return done, lambda key: f"{path}, line {1 + next(i for i, line in enumerate(lines) if line.startswith(key + '='))}: "
    return run


@pytest.mark.parametrize("name", ["fcgi-api", "ws-relay", "queue-worker"])
@pytest.mark.parametrize("words", [["-t"], ["serve", "-t"], ["serve", "--check"]])
def test_good_settings_are_called_good(check, name, words):
    done, _ = check(*words, name=name)
    assert (done.returncode, done.stdout) == (0, "the settings are good\n"), done


@pytest.mark.parametrize("key, value, said", [
    ("FCGI_SEARCH_WORKERS", "many", "FCGI_SEARCH_WORKERS=many is not a whole number from 1 to 1024"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT=xml is not one of: text, json"),
    ("REDIS_URL", "http://x", "REDIS_URL: "),
    ("SOCKET_GROUP", "nobody-has-this", "SOCKET_GROUP=nobody-has-this: there is no such group"),
    ("TLS_CA_FILE", "/none/ca.pem", "TLS_CA_FILE=/none/ca.pem cannot be read"),
    ("FCGI_ROMS_WORKERS", "2", "FCGI_ROMS_WORKERS is not a setting; did you mean FCGI_ROOMS_WORKERS?"),
    ("FCGI_SEARCH_MAX_WORKERS", "600", None),
    ("STORAGE", "disk:/tmp/a$b", "STORAGE: nginx takes no path with blanks"),
    ("WS_IDLE_SECONDS", "2", "WS_IDLE_SECONDS=2 is not above WS_HEARTBEAT=30"),
    ("FCGI_ROOMS_LISTEN", "unix:/none/x.sock", "FCGI_ROOMS_LISTEN=unix:/none/x.sock: there is no folder /none"),
    ("WS_LISTEN", "unix:/etc/passwd", "WS_LISTEN=unix:/etc/passwd: /etc/passwd exists and is not a socket"),
    ("RUN_DIR", "/tmp/" + "x" * 96, f"RUN_DIR=/tmp/{'x' * 96} has 101 bytes, at most 90 work for fcgi-api"),
])
def test_what_is_wrong_is_named_with_its_line(check, key, value, said):
    done, line = check("-t", **{key: value})
    assert done.returncode != 0 and "the settings are good" not in done.stdout
    if said:
        assert line(key) + said in done.stderr, done.stderr
    else:
        assert "workers are too many for one master" in done.stderr, done.stderr


@pytest.mark.parametrize("name, key, value, said", [
    ("fcgi-api", "JWT_JWKS_FILE", "/none/keys", "JWT_JWKS_FILE=/none/keys cannot be read"),
    ("fcgi-api", "FCGI_MESSAGES_MAX_WORKERS", "600", "workers are too many for one master"),
    ("ws-relay", "RUN_DIR", "/tmp/" + "x" * 62, "has 67 bytes, at most 62 work for ws-relay"),
    ("queue-worker", "TLS_CA_FILE", "/none/ca.pem", "TLS_CA_FILE=/none/ca.pem cannot be read"),
    ("queue-worker", "FCM_SERVICE_ACCOUNT_FILE", "/none/a.json", "FCM_SERVICE_ACCOUNT_FILE=/none/a.json cannot be read"),
])
def test_the_start_refuses_what_the_check_refuses(check, tmp_path, name, key, value, said):
    done, _ = check("serve", name=name, **{"RUN_DIR": str(tmp_path), key: value, "FCGI_NO_SETTING": "1"})
    assert done.returncode != 0 and said in done.stderr, done
    # An upgrade does not end a service for a name that is none any more.
    assert "note: " in done.stderr and "FCGI_NO_SETTING is not a setting" in done.stderr


@pytest.mark.parametrize("name", ["fcgi-api", "queue-worker"])
@pytest.mark.parametrize("key, value, said", [
    ("UPLOAD_TEMP_DIR", "/none/here", "UPLOAD_TEMP_DIR=/none/here does not exist"),
    ("UPLOAD_TEMP_DIR", "/etc/passwd", "UPLOAD_TEMP_DIR=/etc/passwd is not a folder"),
    ("STORAGE", "disk:/etc/passwd", "STORAGE=disk:/etc/passwd: /etc/passwd is not a folder"),
    ("STORAGE", "disk:/etc/passwd/x", "STORAGE=disk:/etc/passwd/x: /etc/passwd/x cannot be used: Not a directory"),
    ("STORAGE", "disk:/proc/x", "STORAGE=disk:/proc/x: /proc/x does not exist and cannot be made: /proc cannot be used: "),
])
def test_a_folder_that_keeps_no_files_is_refused(check, name, key, value, said):
    done, _ = check("-t", name=name, **{key: value})
    assert done.returncode != 0 and said in done.stderr, done


def test_a_missing_folder_of_files_is_made_later(check, tmp_path):
    assert check("-t", STORAGE=f"disk:{tmp_path}/a/b")[0].returncode == 0
    assert not (tmp_path / "a").exists()
    # Another program keeps no files.
    assert check("-t", name="ws-relay", STORAGE="disk:/etc/passwd")[0].returncode == 0


@pytest.mark.parametrize("name, key, value", [
    ("ws-relay", "FCM_SERVICE_ACCOUNT_FILE", "/none/a.json"), ("ws-relay", "FCGI_ROOMS_LISTEN", "unix:/none/rooms.sock"),
    ("fcgi-api", "WS_LISTEN", "unix:/none/relay.sock"), ("fcgi-api", "FCM_SERVICE_ACCOUNT_FILE", "/none/a.json"),
    ("queue-worker", "JWT_JWKS_FILE", "/none/keys"), ("queue-worker", "SOCKET_GROUP", "nobody-has-this"),
])
def test_the_start_does_not_ask_for_what_another_program_needs(check, tmp_path, name, key, value):
    """It may be on another machine, with the same settings. The start gets as far as the lock of RUN_DIR."""
    locked = tmp_path / f"{name}.pid"
    with locked.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done, _ = check("serve", name=name, **{"RUN_DIR": str(tmp_path), key: value})
    assert done.returncode != 0 and f"{name} already runs in {tmp_path}" in done.stderr, done


def test_two_pools_on_one_socket(check, tmp_path):
    address = f"unix:{tmp_path}/one.sock"
    done, line = check("-t", FCGI_ROOMS_LISTEN=address, FCGI_SEARCH_LISTEN=address)
    assert done.returncode != 0
    assert line("FCGI_SEARCH_LISTEN") + f"FCGI_SEARCH_LISTEN={address} is the address of FCGI_ROOMS_LISTEN" in done.stderr


def test_a_value_of_the_environment_is_not_blamed_on_the_file(check):
    done, _ = check("-t", LOG_LEVEL="info", environment={"LOG_LEVEL": "loud"})
    assert done.returncode != 0 and "LOG_LEVEL=loud is not one of" in done.stderr and ", line" not in done.stderr


def test_tt_shows_everything_in_force_and_no_secret(check, settings):
    hidden = {"DATABASE_URL": "postgresql://chat:hidden-1@127.0.0.1/chat", "ADMIN_API_KEY": "hidden-2" * 5,
              "REDIS_URL": "redis://:hidden-3@127.0.0.1:6379/0", "RABBITMQ_URL": "amqp://chat:hidden-4%40@127.0.0.1,b/",
              "DATABASE_READ_URL": "host=127.0.0.1 password='hidden-5 x' dbname=chat", "METRICS_TOKEN": "hidden-6-hidden-6",
              "DATABASE_DIRECT_URL": "postgresql://chat@127.0.0.1/chat?password=hidden-7"}
    done, _ = check("-tt", environment={"LOG_LEVEL": "notice"}, LOG_LEVEL="info", ROOM_GROUP_LIMIT="77", **hidden)
    assert done.returncode == 0, done.stderr
    assert "hidden-" not in done.stdout + done.stderr and settings["JWT_SECRET"] not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[-1] == "the settings are good"
    shown = dict(line.split("=", 1) for line in lines[:-1])
    assert shown["LOG_LEVEL"] == "notice  # environment" and shown["ROOM_GROUP_LIMIT"] == "77  # file"
    assert shown["WORKER_BATCH"] == "256" and shown["JWT_SECRET"] == "***  # file"
    assert shown["RABBITMQ_HASH_KEY"] == "room"
    assert shown["DATABASE_URL"] == "postgresql://chat:***@127.0.0.1/chat  # file"
    example = [line.split("=", 1)[0].lstrip("# ") for line in
               open(os.path.join(os.path.dirname(__file__), "../../.env.example")) if "=" in line and line[0].isupper()]
    assert set(example) <= set(shown)


@pytest.mark.parametrize("name, words", [("fcgi-api", ["serve"]), ("ws-relay", ["status"]), ("queue-worker", ["serve", "-t"])])
@pytest.mark.parametrize("kind, said", [
    ("device", "the settings file {} cannot be read: it is a device, not a file"),
    ("folder", "the settings file {} cannot be read: it is a folder"),
    ("pipe", "the settings file {} cannot be read: it is a pipe, not a file"),
    ("missing", "the settings file {} cannot be read: No such file or directory"),
    ("large", "the settings file {} cannot be read: it is larger than 1 MiB"),
    ("zeros", "{}, line 2: a zero byte is not text"),
    ("words", "{}, line 2: this line is not of the form NAME=value"),
    ("nameless", "{}, line 2: this line is not of the form NAME=value"),
])
def test_a_file_that_is_none_is_one_plain_sentence(tmp_path, settings, name, kind, said, words):
    path = tmp_path / "chat.env"
    good = "".join(f"{key}={value}\n" for key, value in settings.items())
    match kind:
        case "device": path = "/dev/null"
        case "folder": path.mkdir()
        case "pipe": os.mkfifo(path)
        case "large":
            with open(path, "wb") as file:
                file.truncate(1 << 30)
        case "zeros": path.write_bytes(b"A=1\n\0\0\0\n" + good.encode())
        case "words": path.write_text("A=1\nDATABASE_URL postgresql://x:hidden-word@y/z\n" + good)
        case "nameless": path.write_text("A=1\n=hidden-word\n" + good)
    done = subprocess.run([program(name), *words, "-c", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0, done.stdout, done.stderr) == (True, "", f"Error: {said.format(path)}\n")


def test_lines_of_windows_are_read(tmp_path, settings):
    path = tmp_path / "chat.env"
    path.write_bytes(b"\xef\xbb\xbf# ours\r\n" + "".join(f"{key} = {value}\r\n" for key, value in settings.items()).encode())
    done = subprocess.run([program("fcgi-api"), "-t", "-c", path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "the settings are good\n"), done


def test_keys_that_are_none_are_said_plainly(check, tmp_path):
    keys = tmp_path / "keys.json"
    for text in ["{", '{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": 7}]}', '{"keys": [{"kty": "RSA"}]}', "[]"]:
        keys.write_text(text)
        done, line = check("-t", JWT_JWKS_FILE=keys)
        assert done.returncode != 0 and line("JWT_JWKS_FILE") + f"JWT_JWKS_FILE={keys} is not a usable key set: " in done.stderr, done
        assert not any(word in done.stderr for word in ["Swift", "Cocoa", "Coding", "Error:("]) and done.stderr.count("\n") == 1
    for path, said in [(tmp_path, "it is a folder"), ("/dev/zero", "it is a device, not a file")]:
        done, line = check("-t", JWT_JWKS_FILE=path, TLS_CA_FILE=path)
        for name in ["JWT_JWKS_FILE", "TLS_CA_FILE"]:
            assert line(name) + f"{name}={path} cannot be read: {said}" in done.stderr, done


def test_a_command_comes_before_the_file():
    done = subprocess.run([program("fcgi-api"), "-c", "/dev/null"], capture_output=True, text=True)
    assert done.returncode == 64 and "a command comes first: fcgi-api serve -c FILE" in done.stderr, done
