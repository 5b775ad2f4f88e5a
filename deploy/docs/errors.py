"""The errors of an operation: each stable code that it can answer with, its status and its meaning. From docs/openapi.yaml:
the statuses that the operation lists, and the codes of each status. Codes of which only some operations can speak are below."""

import re

UPLOADS = {"sendFiles", "uploadChunk", "presignChunks", "completeUpload", "tusCreate", "tusAppend"}
MAKES_ROOMS = {"createRoom", "addMembers", "joinRoom", "adminCreateRoom", "adminAddMembers"}
# The body may name a message.
WITH_PARENT = {"send", "sendFiles"}


def in_room(path, operation):
    return "{room}" in path or operation["operationId"] == "tusCreate"


def of_message(path, operation):
    return "{message}" in path or operation["operationId"] in WITH_PARENT


def is_command(path, operation):
    """It is executed by queue-worker, which checks the member's permissions."""
    return "202" in operation["responses"]


def has_sign(path, operation):
    schemas = [content["schema"] for content in operation.get("requestBody", {}).get("content", {}).values()]
    keys = [one.get("$ref", "").endswith("/IdempotencyKey") for one in operation.get("parameters", [])]
    return any(keys) or any("Sign" in schema.get("properties", {}) for schema in schemas)


def among(*names):
    return lambda path, operation: operation["operationId"] in names


# A code that is not here belongs to every operation that lists its status.
ONLY = {
    "unknown_type": among(),  # of the WebSocket
    "quota_exceeded": among(*UPLOADS),
    "infected": among(*UPLOADS),
    "checksum_mismatch": among("sendFiles", "uploadChunk"),
    "idempotency_mismatch": has_sign,
    "rejected": among("send", "editMessage", "sendFiles", "tusCreate"),
    "search_too_slow": among("searchRoom", "searchAll"),
    "not_a_member": lambda path, operation: "admin" not in operation["tags"] and (in_room(path, operation) or is_command(path, operation)),
    "message_not_found": of_message,
    "blocked": among("send", "sendFiles", "tusCreate", "editMessage", "addReaction", "removeReaction", "pin", "unpin", "createRoom", "addMembers",
                     "uploadChunk", "completeUpload", "uploadState", "tusAppend"),
    "muted": among("send", "sendFiles", "tusCreate", "editMessage", "uploadChunk", "completeUpload", "uploadState", "tusAppend"),
    "slow_mode": among("send", "sendFiles", "tusCreate"),
    "banned": lambda path, operation: operation["operationId"] in ("joinRoom", "tusCreate", "tusAppend")
    or (is_command(path, operation) and operation["operationId"] != "createRoom"
        and ("admin" not in operation["tags"] or operation["operationId"] == "adminAddMembers")),
    "room_full": among(*MAKES_ROOMS),
    "too_many_rooms": among("getEvents"),
}
# In tus a checksum that does not match has a status of its own.
OTHER_STATUS = {"460": ["checksum_mismatch"]}


def meanings(api):
    """{code: (status, meaning)} of the list in the description of ErrorCode."""
    found = {}
    for line in api["components"]["schemas"]["ErrorCode"]["description"].split("\n"):
        if said := re.match(r"- `(\w+)`: (?:(\d{3})(?:, in tus(?: 460)?)?(?:, (with `[^`]+`))?:? ?)?(.*)", line):
            code, status, header, text = said.groups()
            found[code] = (status, ": ".join(filter(None, (header, text))))
    return found


def of(api, path, operation):
    """{status: {code: meaning}}"""
    known = meanings(api)
    found = {}
    for status in operation["responses"]:
        if status < "400":
            continue
        codes = OTHER_STATUS.get(status) or [code for code, (usual, _) in known.items() if usual == status
                                             and (code not in ONLY or ONLY[code](path, operation))]
        found[status] = {code: known[code][1] for code in codes}
    return found
