"""openapi.yaml, asyncapi.yaml and their page describe everything that exists, and the service behaves as described."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
EXAMPLES = os.environ.get("SCHEMA_EXAMPLES", "8")
# They would delete the objects that the other operations need.
DESTRUCTIVE = "deleteRoom|removeMember|deleteMessage|abortUpload|abortFile|endSession"


@pytest.fixture(scope="module")
def openapi():
    return yaml.safe_load((CHECKOUT / "docs/openapi.yaml").read_text())


@pytest.mark.parametrize("path,kind", [("openapi.yaml", "application/yaml"), ("asyncapi.yaml", "application/yaml"),
                                       ("docs", "text/html; charset=utf-8")])
def test_they_are_served(base_url, path, kind):
    for prefix in ("", "/api/v1"):
        answer = requests.get(f"{base_url}{prefix}/{path}", timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)


def test_the_page_is_that_of_the_descriptions():
    assert subprocess.run([sys.executable, CHECKOUT / "deploy/docs/page", "--check"]).returncode == 0


def test_every_route_is_described(openapi):
    """Each `router.on("GET", "/rooms/{id}"` of the endpoints, whatever the names of parameters."""
    def plain(method, path):
        return f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}"
    routes = set()
    for source in (CHECKOUT / "Sources/fcgi-api/Endpoints").glob("*.swift"):
        prefix = "/admin" if source.stem == "Admin" else ""
        routes |= {plain(method, prefix + path) for method, path in
                   re.findall(r'"(GET|POST|PUT|PATCH|DELETE)", "(/[^"]*)"', source.read_text())}
    described = {plain(method, path) for path, item in openapi["paths"].items() for method in item
                 if method != "parameters"}
    documents = {"GET /openapi.yaml", "GET /asyncapi.yaml", "GET /docs"}
    # Of the relay.
    documents |= {"GET /events"}
    # The OPTIONS of tus need no token; links to stored files are opaque.
    own = {route for route in routes if "/files/stored" not in route}
    assert own | documents | {"OPTIONS /files/tus"} == described


def test_every_code_is_described(openapi):
    source = (CHECKOUT / "Sources/Common/Domain/Refusal.swift").read_text()
    cases = source[source.index("enum ErrorCode"):source.index("The HTTP status")]
    named = re.findall(r"case (\w+)(?: = \"(\w+)\")?((?:, \w+)*)", cases)
    codes = {code for name, text, more in named for code in [text or name, *more.split(", ")[1:]]}
    assert codes == set(openapi["components"]["schemas"]["ErrorCode"]["enum"])


def schemathesis(base_url, user, tmp_path, parameters, *words):
    lines = "".join(f'"path.{name}" = "{value}"\n' for name, value in parameters.items())
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{lines}")
    command = [CHECKOUT / ".venv/bin/schemathesis", "--config-file", tmp_path / "schemathesis.toml", "run",
               CHECKOUT / "docs/openapi.yaml", "--url", f"{base_url}/api/v1", "--header",
               f"Authorization: Bearer {user.token}", "--exclude-tag", "admin", "--exclude-tag", "tus", "--exclude-tag", "events", "--max-examples", EXAMPLES, "--seed", "1",
               "--continue-on-failure", "--no-color", *words]
    answer = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env={**os.environ, "SCHEMATHESIS_HOOKS": "schema_hooks", "PYTHONPATH": str(HERE)})
    assert answer.returncode == 0, answer.stdout[-20_000:]


def test_it_behaves_as_described(base_url, ann, tmp_path):
    schemathesis(base_url, ann, tmp_path, {}, "--phases", "examples,coverage,fuzzing")


def test_it_behaves_as_described_in_a_room(base_url, ann, bob, tmp_path):
    room = ann.group(bob)
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "Hello"}, 201)["ID"]
    schemathesis(base_url, ann, tmp_path, {"room": room, "message": message, "user": bob.id},
                 "--mode", "positive", "--phases", "coverage,fuzzing", "--exclude-operation-id-regex", DESTRUCTIVE)
