"""What openapi.yaml cannot say, for the requests that are made from it."""

import schemathesis

PLACES = {"before", "after", "around", "changed_since"}
FORMS = {"uploadChunk": {"File", "ChunkIndex", "TotalChunk"}, "sendFiles": {"File", "token", "Redirect", "Sign"}}
# The settings' limits of a GROUP: a larger MemberLimit is refused.
MEMBERS = 50


@schemathesis.hook
def filter_case(context, case):
    # At most one of them: query parameters cannot exclude each other in OpenAPI 3.1.
    if len(PLACES.intersection(case.query or {})) > 1:
        return False
    name = case.operation.definition.raw.get("operationId")
    if isinstance(case.body, dict):
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
