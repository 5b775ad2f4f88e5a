"""`deploy/test/layers` finds what the compiler does not: a folder that names what stands above it."""

import shutil
import subprocess

import pytest

from conftest import CHECKOUT

PLANTED = [
    ("Common/Domain/Room.swift", "func planted(_ store: any RoomReader) {}", "Domain/Room.swift names RoomReader of Ports"),
    ("Common/Domain/Room.swift", "func planted() { areSame(try readBody()) }\nfunc areSame(_ one: WireValue) {}",
     "Domain/Room.swift names WireValue of Wire"),
    ("Common/Wire/Record.swift", "func planted() -> ExecuteBatch? { nil }", "Wire/Record.swift names ExecuteBatch of UseCases"),
    ("Common/UseCases/MarkSeen.swift", "func planted() { _ = try? TemporaryFile(in: folder) }", "UseCases/MarkSeen.swift names TemporaryFile"),
    ("Common/UseCases/MarkSeen.swift", "import Glibc", "UseCases/MarkSeen.swift imports Glibc"),
    ("Common/Ports/Push.swift", "func planted(_ connection: PostgresConnection) {}", "Ports/Push.swift names PostgresConnection"),
    ("ws-relay/Hub/Hub.swift", "func planted(_ feed: RedisConnection) {}", "Hub/Hub.swift names RedisConnection"),
    ("ws-relay/Sockets/Sockets.swift", "func planted(_ users: Users) {}", "Sockets/Sockets.swift names Users, an owner above it"),
    ("ws-relay/Rooms/Rooms.swift", "func planted(_ table: ConnectionTable) { table.row(0).pointee.serial = 1 }",
     "Rooms/Rooms.swift changes a socket's row"),
]


def layers(folder=CHECKOUT):
    done = subprocess.run([CHECKOUT / "deploy/test/layers", folder], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_layers_hold():
    assert layers() == (0, "")


@pytest.mark.parametrize("file, line, said", PLANTED, ids=[said for _, _, said in PLANTED])
def test_a_planted_arrow_is_found(file, line, said, tmp_path):
    ignored = shutil.ignore_patterns("C", "Adapters", "fcgi-api", "queue-worker")
    shutil.copytree(CHECKOUT / "Sources", tmp_path / "Sources", ignore=ignored)
    source = tmp_path / "Sources" / file
    source.write_text(source.read_text() + f"\n// RoomReader and PostgresConnection in a comment are nothing\n{line}\n")
    code, found = layers(tmp_path)
    assert code == 1 and len(found.splitlines()) == 1 and said in found, found
