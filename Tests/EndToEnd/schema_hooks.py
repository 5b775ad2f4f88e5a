"""What openapi.yaml cannot say, for the requests that are made from it."""

import unicodedata
import uuid

import schemathesis

PLACES = {"before", "after", "around", "changed_since"}
FORMS = {"uploadChunk": {"File", "ChunkIndex", "TotalChunk"}, "sendFiles": {"File", "token", "Redirect", "Sign"}}
# The settings' limits of a GROUP: a larger MemberLimit is refused.
MEMBERS = 50


INVISIBLE = {"Cc", "Cf", "Cs", "Cn", "Zs", "Zl", "Zp"}
# Blank although they count as letters, signs or marks.
BLANK = set("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f") | set(map(chr, [*range(0x180b, 0x1810), *range(0xfe00, 0xfe10),
                                                                         *range(0xe0100, 0xe01f0)]))


def shows_something(text):
    return any(unicodedata.category(letter) not in INVISIBLE and letter not in BLANK for letter in text)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    # Which texts are one emoji no pattern can say.
    if path_parameters and "emoji" in path_parameters:
        path_parameters["emoji"] = "👍"
    return path_parameters


@schemathesis.hook
def filter_case(context, case):
    # At most one of them: query parameters cannot exclude each other in OpenAPI 3.1.
    if len(PLACES.intersection(case.query or {})) > 1:
        return False
    name = case.operation.definition.raw.get("operationId")
    # Which texts are one emoji no pattern can say, nor do all phases ask the hook above.
    if isinstance(case.path_parameters, dict) and case.path_parameters.get("emoji", "👍") != "👍":
        return False
    if isinstance(case.body, dict):
        # Nor can it say which texts show nothing.
        texts = [case.body.get(field) for field in ("Content", "Name")]
        if any(isinstance(text, str) and text and not shows_something(text) for text in texts):
            return False
        # Names of fields that no form's header can carry.
        if name in FORMS and not FORMS[name].issuperset(case.body):
            return False
        # The same user twice is one.
        members = case.body.get("Members")
        if isinstance(members, list) and len({str(member).lower() for member in members}) < len(members):
            return False
        limit = case.body.get("MemberLimit")
        if isinstance(limit, (int, float)) and limit > MEMBERS:
            return False
    return True


def is_sign(text):
    return isinstance(text, str) and text.isprintable() and text.isascii() and 1 <= len(text) <= 64


@schemathesis.hook
def before_call(context, case, **kwargs):
    """A Sign names one request: each request that is made from the description gets one of its own in place of a good one."""
    headers = case.headers
    if headers is not None and is_sign(headers.get("Idempotency-Key")):
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if isinstance(case.body, dict) and is_sign(case.body.get("Sign")):
        case.body = {**case.body, "Sign": str(uuid.uuid4())}
