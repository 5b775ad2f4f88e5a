"""docs/openapi.yaml is the contract: a generated client reaches every operation with typed bodies and answers, and sends files
unchanged."""

import base64
import importlib
import inspect
import io
import re
import subprocess
import sys
import typing
import uuid
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPENAPI = yaml.safe_load((DOCS / "openapi.yaml").read_text())
OPERATIONS = {operation["operationId"]: operation for item in OPENAPI["paths"].values()
              for method, operation in item.items() if method != "parameters"}
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c489".replace(" ", "")) + bytes(range(256)) * 40


def snake(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The generated package, and the generator's output."""
    folder = tmp_path_factory.mktemp("generated")
    # The generator only knows the most common media type for bytes.
    config = folder / "config.yaml"
    config.write_text("content_type_overrides: {application/offset+octet-stream: application/octet-stream}\n")
    program = Path(sys.executable).parent / "openapi-python-client"
    answer = subprocess.run([program, "generate", "--path", DOCS / "openapi.yaml", "--output-path", folder / "chat_client",
                             "--meta", "none", "--config", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert answer.returncode == 0, answer.stdout
    sys.path.insert(0, str(folder))
    yield answer.stdout
    sys.path.remove(str(folder))


class Caller:
    """The client with a user's token."""

    def __init__(self, base_url, token):
        client = importlib.import_module("chat_client").AuthenticatedClient
        self.client = client(base_url=f"{base_url}/api/v1", token=token, raise_on_unexpected_status=False)
        self.called = set()

    def call(self, operation, expect, body=None, **arguments):
        tag = OPERATIONS[operation]["tags"][0]
        module = importlib.import_module(f"chat_client.api.{tag}.{snake(operation)}")
        if body is not None:
            arguments["body"] = self.body(module, body)
        answer = module.sync_detailed(client=self.client, **arguments)
        assert answer.status_code == expect, f"{operation}: {answer.status_code} {answer.content[:300]}"
        self.called.add(operation)
        return answer

    @staticmethod
    def body(module, fields):
        """An instance of the operation's class; of several classes the one that accepts these fields."""
        wanted = typing.get_type_hints(module._get_kwargs)["body"]
        classes = [one for one in typing.get_args(wanted) or (wanted,) if inspect.isclass(one) and hasattr(one, "from_dict")]
        file = importlib.import_module("chat_client.types").File
        if not classes or isinstance(fields, bytes):
            return file(payload=io.BytesIO(fields), file_name="a", mime_type="application/octet-stream")
        if "File" in fields:
            made = classes[0](file=file(payload=io.BytesIO(fields["File"]), file_name="a.png", mime_type="image/png"),
                              **{snake(name): value for name, value in fields.items() if name != "File"})
            return made
        problems = []
        # The first way parses times; the second one is how a program would write it.
        ways = [lambda one: one.from_dict(fields), lambda one: one(**{snake(name): value for name, value in fields.items()})]
        for one, way in ((one, way) for one in classes for way in ways):
            try:
                made = way(one)
                if made.to_dict() == fields:
                    return made
            except (AttributeError, KeyError, ValueError, TypeError) as problem:
                problems.append(problem)
        raise AssertionError(f"no body of {fields}: {classes} {problems}")


def test_every_operation_is_generated(generated):
    assert "will not be generated" not in generated, generated


@pytest.mark.timeout(300)
def test_every_operation(generated, base_url, secret, ann, bob, make_user, reconfigure):
    key = uuid.uuid4().hex
    reconfigure("fcgi-api", ADMIN_API_KEY=key)
    me, him = Caller(base_url, ann.token), Caller(base_url, bob.token)
    call = me.call
    data = lambda answer: answer.parsed.to_dict()["Data"]

    room = uuid.UUID(data(call("createRoom", 201, {"Type": "GROUP", "Name": "us", "Members": [bob.id]}))["ID"])
    call("createRoom", 201, {"Type": "PRIVATE", "Members": [bob.id]}, idempotency_key=str(uuid.uuid4()))
    assert data(call("listRooms", 200, limit=1, messages=2))[0]["Messages"] == []
    call("getRoom", 200, room=room)
    assert data(call("changeRoom", 200, {"Name": "all of us"}, room=room))["Name"] == "all of us"
    carl, dora = make_user(), make_user()
    call("addMembers", 201, {"Members": [carl.id]}, room=room)
    assert len(data(call("listMembers", 200, room=room))) == 3
    call("changeMember", 200, {"Role": "ADMIN"}, room=room, user=uuid.UUID(bob.id))
    call("changeMember", 200, {"MutedUntil": "2099-01-01T00:00:00+00:00"}, room=room, user=uuid.UUID(carl.id))
    call("changeMember", 200, {"Banned": True}, room=room, user=uuid.UUID(carl.id))
    call("removeMember", 404, room=room, user=uuid.UUID(carl.id))
    invitation = data(call("createInvitation", 201, {"MaxUses": 2}, room=room))
    call("listInvitations", 200, room=room)
    Caller(base_url, dora.token).call("joinRoom", 200, {"Token": invitation["Token"]})
    me.called.add("joinRoom")
    call("removeMember", 200, room=room, user=uuid.UUID(dora.id))
    call("revokeInvitation", 200, room=room, invitation=uuid.UUID(invitation["ID"]))
    call("getPresence", 200, user=uuid.UUID(bob.id))
    assert data(call("listUsers", 200, ids=f"{ann.id},{bob.id},{dora.id}"))[1]["UserID"] == bob.id
    call("blockUser", 204, user=uuid.UUID(dora.id))
    call("unblockUser", 204, user=uuid.UUID(dora.id))
    call("reportUser", 201, {"Reason": "spam"}, user=uuid.UUID(bob.id))
    call("silenceRoom", 204, {}, room=room)
    call("unsilenceRoom", 204, room=room)

    message = uuid.UUID(data(call("send", 201, {"Content": "Hello World"}, room=room))["ID"])
    assert data(call("history", 200, room=room, limit=1))[0]["ID"] == str(message)
    call("getMessage", 200, message=message)
    assert data(call("editMessage", 200, {"Content": "Hello all"}, message=message))["Content"] == "Hello all"
    call("listEdits", 200, message=message)
    him.call("markSeen", 200, {}, room=room)
    me.called.add("markSeen")
    call("listReceipts", 200, message=message)
    call("addReaction", 200, message=message, emoji="👍")
    call("removeReaction", 200, message=message, emoji="👍")
    call("pin", 200, message=message)
    call("listPins", 200, room=room)
    call("unpin", 200, message=message)
    call("silenceThread", 204, {"Mentions": True}, message=message)
    call("unsilenceThread", 204, message=message)
    call("searchRoom", 200, room=room, q="Hello")
    call("searchAll", 200, q="Hello")
    report = uuid.UUID(data(him.call("reportMessage", 201, {"Reason": "other", "Text": "hm"}, message=message))["ID"])
    me.called.add("reportMessage")
    assert [one["ID"] for one in data(call("listReports", 200, room=room))] == []  # About me.
    call("decideReport", 404, {"State": "reviewing", "ExpectedState": "open"}, room=room, report=report)
    call("deleteMessage", 200, message=message)

    def file_message(name="a.png", kind="image"):
        return uuid.UUID(data(call("send", 201, {"Content": name, "ContentType": kind}, room=room))["ID"])
    file = file_message()
    call("uploadState", 200, message=file)
    assert data(call("listUploads", 200))[0]["ID"] == str(file)
    uploaded = data(call("uploadChunk", 200, {"File": PNG, "ChunkIndex": 1, "TotalChunk": 1}, message=file))
    assert uploaded["Completed"] and uploaded["Message"]["File"]["Size"] == len(PNG)
    call("download", 302, message=file)
    assert ann.rest("GET", f"/files/{file}", expect=200).content == PNG
    call("completeUpload", 200, message=file)
    call("abortUpload", 200, message=file_message())
    call("abortFile", 200, message=file_message())
    call("presignChunks", 200, {"TotalChunk": 1, "Chunks": []}, message=file_message())
    sent = data(call("sendFiles", 201, {"File": PNG}, room=room))
    assert sent["File"]["Size"] == len(PNG)
    answer = importlib.import_module("chat_client.api.uploads.thumbnail").sync_detailed(client=me.client, message=file)
    assert answer.status_code in (302, 404)
    me.called.add("thumbnail")

    call("tusOptions", 204)

    metadata = f"room {base64.b64encode(str(room).encode()).decode()},filename {base64.b64encode(b'b.bin').decode()}"
    created = call("tusCreate", 201, b"", tus_resumable="1.0.0", upload_length=5, upload_metadata=metadata)
    upload = uuid.UUID(created.headers["Location"].rsplit("/", 1)[1])
    call("tusAppend", 204, b"Hel", message=upload, tus_resumable="1.0.0", upload_offset=0)
    assert call("tusOffset", 200, message=upload, tus_resumable="1.0.0").headers["Upload-Offset"] == "3"
    call("tusAbort", 204, message=upload, tus_resumable="1.0.0")

    assert data(call("changeAccount", 200, {"AddedBy": "shared"}))["AddedBy"] == "shared"
    call("getAccount", 200)
    call("registerDevice", 204, device="device-1")
    added = data(call("addDevice", 201, {"Kind": "webhook", "Token": "ann@example.org"}))
    devices = data(call("listDevices", 200))["Devices"]
    assert [device["Device"] for device in devices] == [added["Device"], "device-1"]
    call("unregisterDevice", 204, device="device-1")
    call("createTicket", 201)
    assert call("getEvents", 200, wait=1).parsed.to_dict()["Data"][0]["Type"] == "welcome"
    call("beginSession", 200)
    call("endSession", 204)
    for operation in ("health", "ready", "openapi", "asyncapi", "docs"):
        call(operation, 200)
    answer = importlib.import_module("chat_client.api.operation.metrics").sync_detailed(client=me.client)
    assert answer.status_code in (200, 403)
    me.called.add("metrics")
    call("deleteRoom", 200, room=room)

    host = Caller(base_url, key)
    theirs = uuid.UUID(data(host.call("adminCreateRoom", 201, {"OwnerID": bob.id, "Type": "GROUP", "Name": "theirs"}))["ID"])
    host.call("adminAddMembers", 201, {"Members": [ann.id]}, room=theirs)
    host.call("adminAnnounce", 201, {"Content": "News"}, room=theirs)
    host.call("adminExport", 200, room=theirs)
    assert data(host.call("describeUser", 200, {"Name": "Ann", "Metadata": {"Team": "blue"}}, user=ann.id))["Name"] == "Ann"
    assert data(host.call("patchUser", 200, {"Metadata": {"Floor": 3}}, user=ann.id))["Metadata"] == {"Team": "blue", "Floor": 3}
    assert data(host.call("adminAudit", 200, limit=1))[0]["Key"] == "ADMIN_API_KEY"
    assert str(report) in [one["ID"] for one in data(host.call("adminListReports", 200, limit=100))]
    host.call("adminDecideReport", 200, {"State": "dismissed", "ExpectedState": "open"}, report=report)
    host.call("adminPurge", 200, {"Before": "2020-01-01T00:00:00+00:00"}, room=theirs)
    host.call("adminRemoveMember", 200, room=theirs, user=uuid.UUID(ann.id))
    host.call("adminErase", 200, user=uuid.UUID(carl.id))
    host.call("adminDeleteRoom", 200, room=theirs)

    assert set(OPERATIONS) <= me.called | host.called, sorted(set(OPERATIONS) - me.called - host.called)
    # A refusal has its type too.
    refused = him.call("getRoom", 404, room=uuid.uuid4()).parsed.to_dict()
    assert refused["Error"]["Code"] == "not_a_member" and refused["RequestID"]
