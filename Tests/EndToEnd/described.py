"""Checks that each frame in the tests is described by docs/asyncapi.yaml."""

from pathlib import Path

import fastjsonschema
import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENTS = {name: yaml.safe_load((DOCS / name).read_text()) for name in ("asyncapi.yaml", "openapi.yaml")}
# Deviations from the description, for the fixture that ends each test: threads read the frames.
problems = []


def resolved(value, home="asyncapi.yaml"):
    """The schema without references; ours are not recursive."""
    if isinstance(value, list):
        return [resolved(one, home) for one in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        name, _, path = value["$ref"].partition("#/")
        found = DOCUMENTS[name or home]
        for key in path.split("/"):
            found = found[key]
        return resolved(found, name or home)
    return {key: resolved(one, home) for key, one in value.items()}


def compiled():
    messages = DOCUMENTS["asyncapi.yaml"]["components"]["messages"]
    return {name: fastjsonschema.compile(resolved(message["payload"])) for name, message in messages.items()
            if not name.endswith("_request")}


CHECKS = compiled()


def check(frame):
    try:
        CHECKS[frame["Type"]](frame)
    except (KeyError, fastjsonschema.JsonSchemaException) as problem:
        problems.append(f"{type(problem).__name__} {problem}: {frame}")
