"""The package without a second build: its structure, from the programs under test; and setup, with the stack under test. `make
test-install` tests the package on a machine with systemd."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import CHECKOUT, program

SCRIPTS = ["postinst", "prerm", "postrm"]
FOLDER = CHECKOUT / "deploy/package"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two builds of the package, at the same time, in two folders and in two environments."""
    folder = tmp_path_factory.mktemp("packages")
    # Each tool on the way would read the debug information of a test build, several times.
    programs = folder / "programs"
    programs.mkdir()
    for name in ["fcgi-api", "ws-relay", "queue-worker", "chat-load"]:
        subprocess.run(["strip", "-o", programs / name, program(name)], check=True)
    # These programs need the Swift libraries, which are in no Debian package; the real ones have them linked in. And xz
    # takes longer than all the rest: a package is as reproducible with gzip.
    env = {**os.environ, "CHAT_DEB_COMPRESSOR": "gzip", "CHAT_DEB_LEVEL": "1", "CHAT_DEB_OPTIONS": "noautodbgsym",
           "CHAT_SHLIBDEPS": "--ignore-missing-info"}
    builds = []
    for name, other in [("one", {"TZ": "UTC"}), ("two", {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "USER": "somebody"})]:
        own = env | other | {"CHAT_DEB_FOLDER": str(folder / name), "CHAT_DEB_WORK": str(folder / f"{name}.work")}
        builds.append(subprocess.Popen([FOLDER / "deb", programs], env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True))
    found = []
    for build in builds:
        out, trouble = build.communicate()
        assert build.returncode == 0, trouble
        [package] = out.split()
        found.append(Path(package))
    return found


def deb(*words):
    return subprocess.run(["dpkg-deb", *words], capture_output=True, text=True, check=True).stdout


def entries(package):
    """{path: (mode, owner)}"""
    lines = (line.split(None, 5) for line in deb("-c", package).splitlines())
    return {line[5].split(" -> ")[0].removeprefix("."): (line[0], line[1]) for line in lines}


def test_two_builds_give_the_same_bytes(built):
    assert built[0].read_bytes() == built[1].read_bytes()


def test_everything_is_in_its_place(built):
    found = entries(built[0])
    wanted = {f"/usr/bin/{name}" for name in ["fcgi-api", "ws-relay", "queue-worker", "chat-load", "chat-setup"]}
    wanted |= {f"/usr/share/man/man8/{name}.8.gz" for name in ["fcgi-api", "ws-relay", "queue-worker", "chat-load", "chat-setup"]}
    for name in ["fcgi-api", "ws-relay", "queue-worker", "chat-load"]:
        wanted |= {f"/usr/share/bash-completion/completions/{name}", f"/usr/share/zsh/vendor-completions/_{name}",
                   f"/usr/share/fish/vendor_completions.d/{name}.fish"}
    wanted |= {f"/usr/share/chat/migrations/{path.name}" for path in (CHECKOUT / "Migrations").glob("*.sql")}
    wanted |= {f"/usr/share/chat/docs/{name}" for name in ["openapi.yaml", "asyncapi.yaml", "index.html"]}
    for folder in ["/etc/nginx/chat", "/usr/share/chat/nginx"]:
        wanted |= {f"{folder}/{path.name}" for path in (CHECKOUT / "nginx/include").glob("*.conf")}
    units = [path for kind in ("service", "socket") for path in (CHECKOUT / "deploy/systemd").glob(f"*.{kind}")]
    wanted |= {f"/usr/lib/systemd/system/{path.name}" for path in units}
    wanted |= {"/usr/lib/tmpfiles.d/chat-server.conf", "/usr/lib/sysusers.d/chat-server.conf", "/usr/share/chat/env.example",
               "/usr/share/chat/prometheus/alerts.yml", "/usr/share/chat/grafana/chat.json", "/etc/default/chat-server", "/etc/logrotate.d/chat-server",
               "/etc/chat/"}
    wanted |= {f"/etc/chat/pools.d/{name}.conf" for name in ["rooms", "messages", "search", "uploads", "account"]}
    assert wanted - set(found) == set()
    # debhelper compresses large ones.
    documents = {path.name for path in [*(CHECKOUT / "docs").glob("*.md"), *(CHECKOUT / "docs").glob("*.svg")]} | {"settings.md"}
    assert documents <= {path.rsplit("/", 1)[-1].removesuffix(".gz") for path in found if "/doc/chat-server/docs/" in path}
    # The installation creates the settings; they are not a file of the package, so nothing overwrites them.
    assert "/etc/chat/.env" not in found
    assert {owner for _, owner in found.values()} == {"root/root"}
    for path, (mode, _) in found.items():
        expected = "drwxr-xr-x" if path.endswith("/") else "lrwxrwxrwx" if mode[0] == "l" else \
            "-rwxr-xr-x" if path.startswith("/usr/bin/") else "-rw-r--r--"
        assert mode == expected, path


def test_units_name_the_programs_of_the_package(built, tmp_path):
    deb("-x", built[0], tmp_path)
    for unit in (tmp_path / "usr/lib/systemd/system").glob("*.service"):
        [words] = re.findall(r"^ExecStart=(\S+) serve -c /etc/chat/\.env$", unit.read_text(), re.M)
        assert (tmp_path / words[1:]).exists(), unit
    assert "d /run/chat 0711 chat chat" in (tmp_path / "usr/lib/tmpfiles.d/chat-server.conf").read_text()


def test_conffiles_and_dependencies(built):
    fields = deb("-f", built[0])
    for package in ["libc6", "libpq5", "libhiredis0.14", "librabbitmq4", "libcurl4", "libfcgi0ldbl", "libmagic1", "zlib1g"]:
        assert re.search(rf"^Depends:.*\b{re.escape(package)}", fields, re.M), package
    conffiles = deb("-I", built[0], "conffiles").split()
    assert "/etc/nginx/chat/locations.conf" in conffiles and "/etc/default/chat-server" in conffiles
    assert "/etc/chat/pools.d/search.conf" in conffiles
    version = subprocess.run([FOLDER / "version"], capture_output=True, text=True, check=True).stdout.strip()
    assert f"\nVersion: {version}\n" in "\n" + fields


def test_the_scripts_are_shell(built, tmp_path):
    deb("-e", built[0], tmp_path)
    for name in SCRIPTS:
        assert subprocess.run(["dash", "-n", tmp_path / name]).returncode == 0
        # debhelper inserts its own parts; no placeholder may remain.
        assert "#DEBHELPER#" not in (tmp_path / name).read_text()


def test_lintian_has_nothing_to_say(built):
    # Only these test programs contain the folder of the Swift libraries.
    words = ["lintian", "--fail-on", "error,warning", "--suppress-tags", "custom-library-search-path", built[0]]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manual_has_every_command():
    for name in ["fcgi-api", "ws-relay", "queue-worker", "chat-load"]:
        page = subprocess.run([FOLDER / "man", program(name), "1", "0"], capture_output=True, text=True, check=True).stdout
        listed = subprocess.run([program(name), "--help"], capture_output=True, text=True).stdout
        words = re.findall(r"^  (\S+)(?: \(default\))?  ", listed.split("SUBCOMMANDS:")[1], re.M)
        assert words
        for word in words:
            assert f".SS {name} {word}".replace("-", "\\-") in page, word
        shown = subprocess.run(["man", "--warnings", "-l", "-"], input=page, capture_output=True, text=True)
        assert shown.returncode == 0 and shown.stderr == "", shown.stderr


def test_the_table_of_settings_has_every_setting():
    text = subprocess.run([CHECKOUT / "deploy/docs/settings"], capture_output=True, text=True, check=True).stdout
    rows = {row[1].strip(" `"): row for row in (re.split(r"(?<!\\)\|", line) for line in text.splitlines()) if len(row) == 5}
    example = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (CHECKOUT / ".env.example").read_text(), re.M))
    assert set(example) == set(rows) - {"setting", "---"}
    assert {name: row[2].strip(" `") for name, row in rows.items() if name in example} == example
    # Pools after the first refer to it.
    assert "`FCGI_ROOMS_WORKERS`" in rows["FCGI_UPLOADS_WORKERS"][3]


# -- The version

def test_one_version_everywhere():
    [version] = re.findall(r'"(.*)"', (CHECKOUT / "Sources/Common/Version.swift").read_text().splitlines()[-1])
    for name in ["fcgi-api", "ws-relay", "queue-worker", "chat-load"]:
        said = subprocess.run([program(name), "--version"], capture_output=True, text=True)
        assert (said.returncode, said.stdout) == (0, version + "\n")
    for name in ["openapi", "asyncapi"]:
        [found] = re.findall(r"^  version: (.*)$", (CHECKOUT / f"docs/{name}.yaml").read_text(), re.M)
        assert found == version
    package = subprocess.run([FOLDER / "version"], capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch(re.escape(version) + r"(~git\d{14}\.[0-9a-f]{7})?", package)


# -- Words that are no commands

@pytest.mark.parametrize("words, said", [
    (["fcgi-api", "start", "-c", "x"], "unknown command 'start': fcgi-api has serve,"),
    (["queue-worker", "run"], "unknown command 'run': queue-worker has serve,"),
    (["fcgi-api", "migrate", "upp", "-c", "x"], "unknown command 'upp': fcgi-api migrate has up,"),
])
def test_an_unknown_command_is_called_one(words, said):
    done = subprocess.run([program(words[0]), *words[1:]], capture_output=True, text=True)
    assert done.returncode == 64 and said in done.stderr, done


# -- Setup

def setup(*words, called="fcgi-api", file=None, **environment):
    first = ["setup"] if called == "fcgi-api" else []
    path = program("fcgi-api") if called == "fcgi-api" else called
    return subprocess.run([path, *first, *words, "-c", file], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, **environment})


@pytest.fixture
def copied(tmp_path, settings):
    """The stack's settings in a separate file."""
    path = tmp_path / "chat.env"
    path.write_text("# a comment\n" + "".join(f"{name}={value}\n" for name, value in settings.items()))
    path.chmod(0o640)
    return path


def test_setup_of_what_is_set_up_changes_nothing_and_sends_a_message(copied):
    before = copied.read_text()
    dry = setup("--no-services", "--dry-run", file=copied)
    assert dry.returncode == 0 and "nothing had to be changed" in dry.stdout, dry.stdout + dry.stderr
    done = setup("--no-services", file=copied)
    assert done.returncode == 0, done.stderr
    assert "a test message was delivered" in done.stdout and "nothing had to be changed" in done.stdout
    assert copied.read_text() == before


def test_setup_writes_what_it_is_told_and_keeps_the_rest(copied, tmp_path):
    chat_setup = tmp_path / "chat-setup"
    chat_setup.symlink_to(program("fcgi-api"))
    before = copied.read_text()
    words = ["--no-services", "--domain", "chat.example.org", "--prefix", "/talk", "--storage", f"disk:{tmp_path}/files"]
    dry = setup(*words, "--dry-run", called=chat_setup, file=copied)
    assert dry.returncode == 0 and "would write STORAGE, PUBLIC_URL" in dry.stdout, dry.stdout + dry.stderr
    assert "location /talk/ { include /etc/nginx/chat/prefixed.conf; }" in dry.stdout
    assert copied.read_text() == before
    done = setup(*words, "--check-url", "http://127.0.0.1:1", called=chat_setup, file=copied)
    assert done.returncode == 1 and "start nginx" in done.stderr, done.stdout + done.stderr
    after = copied.read_text()
    assert "PUBLIC_URL=https://chat.example.org/talk\n" in after and after.startswith("# a comment\n")
    assert len(after.splitlines()) <= len(before.splitlines()) + 1
    assert copied.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name, value, said", [
    ("DATABASE_URL", "postgresql://chat:hidden-word@127.0.0.1:1/chat", "PostgreSQL cannot be used"),
    ("RABBITMQ_URL", "amqp://chat:hidden-word@127.0.0.1:1/", "RabbitMQ cannot be used"),
    ("REDIS_URL", "redis://:hidden-word@127.0.0.1:1/0", "Redis cannot be used"),
])
def test_a_server_that_is_away_is_one_sentence(copied, name, value, said):
    done = setup("--no-services", file=copied, **{name: value})
    assert done.returncode == 1 and said in done.stderr and name in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "hidden-word" not in done.stderr + done.stdout


def test_setup_says_what_is_wrong_with_its_words(copied, tmp_path):
    for words, said in [(["--prefix", "talk/"], "--prefix begins with a slash"),
                        (["--storage", "tape"], "is none of disk, disk:/folder, s3, none"),
                        (["--domain", "a\nJWT_SECRET=mine"], "control character")]:
        before = copied.read_text()
        done = setup("--no-services", *words, file=copied)
        assert done.returncode != 0 and said in done.stderr, done.stderr
        assert copied.read_text() == before
    nothing = setup("--no-services", file=tmp_path / "none.env")
    assert nothing.returncode == 1 and "no database is named" in nothing.stderr


# -- Containers

@pytest.mark.parametrize("path", ["compose.yaml", "deploy/compose/cluster.yaml"])
def test_compose_files_are_valid_and_every_service_has_a_health_check(path):
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed: apt-get install docker-compose")
    env = {**os.environ, "JWT_SECRET": "x" * 32, "CLUSTER_PASSWORD": "secret"}
    done = subprocess.run(["docker-compose", "-f", path, "config"], cwd=CHECKOUT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import yaml
    for name, service in yaml.safe_load(done.stdout)["services"].items():
        assert "healthcheck" in service, name
        # A service that runs once must say so: it has to succeed before others start.
        assert not service["healthcheck"].get("disable") or service["restart"] == "on-failure", name
    without = subprocess.run(["docker-compose", "-f", path, "config"], cwd=CHECKOUT, capture_output=True, text=True,
                             env={name: value for name, value in env.items() if name != "JWT_SECRET"})
    assert without.returncode != 0 and "JWT_SECRET" in without.stderr
