"""The watchers of `make cluster`: when they restart RabbitMQ's node or end PostgreSQL, and when they must not."""

import importlib.machinery
import importlib.util
import io
import subprocess
import urllib.error

import pytest
from conftest import CHECKOUT

A, B, C = "10.84.0.11", "10.84.0.12", "10.84.0.13"


def loaded(name):
    """A program of deploy/cluster/servers as a module."""
    path = str(CHECKOUT / "deploy/cluster/servers" / name)
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Nodes:
    """Three RabbitMQ nodes as their management tells them. `partitions`: address → addresses; `down`: answer nothing."""

    def __init__(self):
        self.partitions, self.down, self.alarms, self.absent = {A: [], B: [], C: []}, set(), set(), set()

    def ask(self, address, what):
        if address in self.down:
            raise ConnectionRefusedError(address)
        if what == "nodes":
            return [{"name": f"rabbit@{each}", "running": each not in self.down, **({} if each in self.down else {
                "partitions": [f"rabbit@{other}" for other in self.partitions[each]]})} for each in (A, B, C)]
        if what == "queues":
            return [{"name": "chat.queue.0", "members": [f"rabbit@{each}" for each in (A, B, C)],
                     "online": [f"rabbit@{each}" for each in (A, B, C) if each not in self.absent]}]
        if address in self.alarms:
            raise urllib.error.HTTPError(what, 503, "alarm", {}, io.BytesIO())
        return {"status": "ok"}


@pytest.fixture
def nodes():
    return Nodes()


@pytest.fixture
def make_watcher(tmp_path, nodes):
    """The watcher of one host."""
    def made(address, turn):
        (tmp_path / "rabbitmq.conf").write_text("default_pass = x\n" + "".join(
            f"cluster_formation.classic_config.nodes.{number} = rabbit@{each}\n" for number, each in enumerate((A, B, C))))
        watcher = loaded("mend-partitions").Node(address, tmp_path, turn)
        watcher.ask = nodes.ask
        return watcher
    return made


def first_restart(watcher, begin, end, step=2):
    """(when, reason) of the first restart between `begin` and `end`, or None."""
    for now in range(begin, end, step):
        if reason := watcher.trouble(now):
            return now, reason
    return None


def test_a_node_that_was_frozen_is_restarted_alone(make_watcher, nodes):
    """While b starts again, a still knows the partition, and is needed for the majority."""
    a, b = make_watcher(A, 0), make_watcher(B, 1)
    nodes.partitions = {A: [B], B: [A, C], C: []}
    assert first_restart(a, 100, 114) is None
    when, reason = first_restart(b, 100, 130)
    assert when == 112 and "is partitioned from" in reason
    nodes.down = {B}
    assert first_restart(a, 114, 160) is None
    # b is back, and a does not forget.
    nodes.down, nodes.partitions = set(), {A: [B], B: [], C: []}
    assert first_restart(a, 160, 180) == (166, f"is partitioned from ['rabbit@{B}']")


def test_a_node_waits_while_another_one_is_being_restarted(make_watcher, nodes):
    """c misses a, and b starts again: without c no queue would have a majority."""
    c = make_watcher(C, 2)
    nodes.partitions, nodes.down = {A: [C], B: [], C: [A]}, {B}
    assert first_restart(c, 100, 140) is None
    nodes.down = set()
    assert c.trouble(140) == f"is partitioned from ['rabbit@{A}']"


def test_the_nodes_of_a_partition_in_the_middle_take_turns(make_watcher, nodes):
    nodes.partitions = {A: [B], B: [A], C: []}
    assert first_restart(make_watcher(A, 0), 100, 130)[0] == 106
    assert first_restart(make_watcher(B, 1), 100, 130)[0] == 112
    assert first_restart(make_watcher(C, 2), 100, 130) is None


def test_a_silent_node_is_restarted_if_another_one_answers(make_watcher, nodes):
    a = make_watcher(A, 0)
    nodes.down = {A, B, C}
    assert first_restart(a, 100, 300) is None
    nodes.down = {A, B}
    assert a.trouble(300) == "does not answer"


def test_a_node_that_lost_a_replica_is_restarted_once_and_then_copies_it(make_watcher, nodes):
    a, commands = make_watcher(A, 0), []
    a.command = lambda *words: commands.append(words) or subprocess.CompletedProcess(words, 0, "", "")
    nodes.absent = {A}
    when, reason = first_restart(a, 100, 200)
    assert (when, reason, commands) == (116, "has no replica of chat.queue.0", [])
    a.absent = None
    assert first_restart(a, 200, 218) is None
    assert commands == [("rabbitmq-queues", word, "chat.queue.0", f"rabbit@{A}") for word in ("delete_member", "add_member")]


def test_no_replica_is_removed_while_it_is_needed_for_the_majority(make_watcher, nodes):
    a = make_watcher(A, 0)
    nodes.absent = {A, B}
    assert first_restart(a, 100, 200) is None


def test_a_node_whose_alarm_stops_all_senders_is_restarted_once_in_ten_minutes(make_watcher, nodes):
    a, b = make_watcher(A, 0), make_watcher(B, 1)
    nodes.alarms = {A}
    assert first_restart(b, 100, 120) is None
    when, reason = first_restart(a, 100, 120)
    assert when == 104 and "alarm" in reason
    assert first_restart(a, 120, 700) is None
    assert first_restart(a, 700, 720)[0] == 704


@pytest.mark.parametrize("alarms, down", [({A, B}, set()), ({A}, {C})])
def test_an_alarm_is_left_alone_if_others_have_one_or_a_node_is_down(make_watcher, nodes, alarms, down):
    nodes.alarms, nodes.down = alarms, down
    assert first_restart(make_watcher(A, 0), 100, 200) is None


def test_a_full_disk_is_left_only_if_both_standbys_follow(tmp_path):
    module = loaded("leave-full-disk")
    psql = tmp_path / "psql"
    for said, expected in (("t", True), ("f", False), ("", False)):
        psql.write_text(f"#!/bin/sh\necho '{said}'\n")
        psql.chmod(0o755)
        assert module.has_both_standbys(tmp_path, tmp_path) is expected
    assert not module.is_full(tmp_path)
    module.LEAST_BYTES = 1 << 62
    assert module.is_full(tmp_path)
