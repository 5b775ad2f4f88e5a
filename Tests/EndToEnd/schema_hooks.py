"""Rules that openapi.yaml cannot express, for the requests that are generated from it."""

import unicodedata
import uuid

import schemathesis

PLACES = {"before", "after", "around", "changed_since"}
FORMS = {"uploadChunk": {"File", "ChunkIndex", "TotalChunk"}, "sendFiles": {"File", "token", "Redirect", "Sign"}}
# The settings' limits of a GROUP: a larger MemberLimit is refused.
MEMBERS = 50


# Of the words of a name that is looked for.
LETTERS = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd", "Nl"}
INVISIBLE = {"Cc", "Cf", "Cs", "Cn", "Zs", "Zl", "Zp"}
# Blank, although they count as letters, symbols or marks.
BLANK = set("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f") | set(map(chr, [*range(0x180b, 0x1810), *range(0xfe00, 0xfe10),
                                                                         *range(0xe0100, 0xe01f0)]))


def shows_something(text):
    return any(unicodedata.category(letter) not in INVISIBLE and letter not in BLANK for letter in text)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    # No pattern can tell which texts are one emoji.
    if path_parameters and isinstance(path_parameters.get("user"), str):
        path_parameters["user"] = path_parameters["user"].encode(errors="replace")[:128].decode(errors="ignore") or "a"
    if path_parameters and "emoji" in path_parameters:
        path_parameters["emoji"] = "👍"
    return path_parameters


@schemathesis.hook
def filter_case(context, case):
    # At most one of them: query parameters cannot exclude each other in OpenAPI 3.1.
    if len(PLACES.intersection(case.query or {})) > 1:
        return False
    name = case.operation.definition.raw.get("operationId")
    # A list in one text: no pattern counts the bytes of each id.
    ids = (case.query or {}).get("ids")
    if name == "listUsers" and ("q" in (case.query or {})) == (ids is not None):
        return False
    words = (case.query or {}).get("q")
    if name == "listUsers" and words is not None and not any(unicodedata.category(letter) in LETTERS for letter in str(words)):
        return False
    if name == "listUsers" and isinstance(ids, str) and not all(
            0 < len(one.encode(errors="replace")) <= 128 and not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in one)
            for one in ids.split(",")):
        return False
    if isinstance(case.body, dict):
        # Nor can one tell which texts show nothing.
        texts = [case.body.get(field) for field in ("Content", "Name")]
        if any(isinstance(text, str) and text and not shows_something(text) for text in texts):
            return False
        # Names of fields that a form's header cannot contain.
        if name in FORMS and not FORMS[name].issuperset(case.body):
            return False
        # The same user twice counts once.
        members = case.body.get("Members")
        if isinstance(members, list) and len({str(member).lower() for member in members}) < len(members):
            return False
        # A length of OpenAPI counts letters, and that of a user's id counts bytes.
        users = [case.body.get("UserID"), case.body.get("OwnerID"), *(members if isinstance(members, list) else [])]
        if any(isinstance(user, str) and len(user.encode(errors="replace")) > 128 for user in users):
            return False
        # Nor those of a report.
        if any(len(text.encode(errors="replace")) > 1000 for text in map(case.body.get, ("Text", "Note")) if isinstance(text, str)):
            return False
        limit = case.body.get("MemberLimit")
        if isinstance(limit, (int, float)) and limit > MEMBERS:
            return False
    return True


def is_sign(text):
    return isinstance(text, str) and text.isprintable() and text.isascii() and 1 <= len(text) <= 64


# A device of each kind: a schema cannot tell a point of a curve from other bytes, nor what belongs to which kind.
DEVICES = {
    "webpush": {"Endpoint": "https://push.example.org/send/gAAAAABk", "Keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}},
    "apns": {"Token": "ab" * 32}, "webhook": {"Token": "ann@example.org"}, "fcm": {"Token": "device-1"}}
QUIET = {"From": "22:00", "To": "07:30", "TimeZone": "UTC"}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Adjusts a valid request beyond its description: a Sign names one request, so each needs its own; and some
    phases skip the hook for emojis above."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    sign = str(uuid.uuid4())
    has_key = bool((case.headers or {}).get("Idempotency-Key"))
    if has_key:
        case.headers["Idempotency-Key"] = sign
    # Both name the same request, so they are equal.
    if case.media_type == "application/json" and isinstance(case.body, dict) and (
            is_sign(case.body.get("Sign")) or has_key and case.body.get("Sign")):
        case.body = {**case.body, "Sign": sign}
    if case.path_parameters and "emoji" in case.path_parameters:
        case.path_parameters["emoji"] = "👍"
    # Nor one that has bounds at every depth, and no NUL.
    if isinstance(case.body, dict) and isinstance(case.body.get("Metadata"), dict):
        case.body = {**case.body, "Metadata": {"kind": "order"}}
    name = case.operation.definition.raw.get("operationId")
    if name == "addDevice" and isinstance(case.body, dict):
        kind = case.body.get("Kind", "webpush")
        case.body = {**{field: case.body[field] for field in ("Silent",) if field in case.body}, "Kind": kind, **DEVICES[kind]}
    # Nor can one tell a time zone from another word.
    if name == "changeAccount" and isinstance(case.body, dict) and isinstance(case.body.get("QuietHours"), dict):
        case.body = {**case.body, "QuietHours": QUIET}
