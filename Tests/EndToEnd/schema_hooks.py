"""What openapi.yaml cannot say, for the requests that are made from it."""

import schemathesis

PLACES = {"before", "after", "around", "changed_since"}


@schemathesis.hook
def filter_case(context, case):
    # At most one of them: query parameters cannot exclude each other in OpenAPI 3.1.
    return len(PLACES.intersection(case.query or {})) <= 1
