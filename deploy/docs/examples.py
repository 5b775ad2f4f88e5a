"""Examples of an operation in curl, JavaScript, PHP and Python, made from docs/openapi.yaml. A test runs them.

They take everything that differs between readers from the environment: CHAT (the service's origin), TOKEN, and an id for
each part of a path, as ROOM or MESSAGE.
"""

import json
import re
from pprint import pformat

LANGUAGES = ("curl", "JavaScript", "PHP", "Python")
# Left out: a protocol of its own, a key that is not a user's, pages and probes.
TAGS = {"rooms", "messages", "uploads", "account"}
LEFT_OUT = {"uploadChunk", "beginSession", "endSession"}


def body_of(operation):
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return content.get("example")


def has_examples(operation):
    return bool(TAGS & set(operation["tags"])) and operation["operationId"] not in LEFT_OUT


def parts_of(path):
    return re.findall(r"\{(\w+)\}", path)


def of(method, path, operation):
    """{language: text}. `path` has its prefix; `{room}` in it becomes ROOM of the environment."""
    query = "?q=hello" if any(one.get("$ref", "").endswith("/Query") for one in operation.get("parameters", [])) else ""
    call = {"method": method.upper(), "path": path + query, "body": body_of(operation),
            "form": "multipart/form-data" in operation.get("requestBody", {}).get("content", {})}
    return {language: make(**call) for language, make in
            zip(LANGUAGES, (curl, javascript, php, python)) if not call["form"] or make in (curl, javascript, php)}


def curl(method, path, body, form):
    address = re.sub(r"\{(\w+)\}", lambda part: f"${part[1].upper()}", path)
    lines = [f'curl -X {method} "$CHAT{address}" \\', '  -H "Authorization: Bearer $TOKEN"']
    if form:
        lines[-1] += " \\"
        lines.append("  -F File=@notes.txt")
    elif body is not None:
        text = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
        lines[-1] += " \\"
        lines += ["  -H 'Content-Type: application/json' \\", f"  -d '{text}'"]
    return "\n".join(lines)


def javascript(method, path, body, form):
    names = ["CHAT", "TOKEN", *(part.upper() for part in parts_of(path))]
    address = re.sub(r"\{(\w+)\}", lambda part: f"${{{part[1].upper()}}}", path)
    headers = ["Authorization: `Bearer ${TOKEN}`"]
    more = ""
    lines = [f"const {{ {', '.join(names)} }} = process.env;"]
    if form:
        lines += ["const body = new FormData();", "body.append('File', new Blob(['hello']), 'notes.txt');"]
        more = "\n  body,"
    elif body is not None:
        headers.append("'Content-Type': 'application/json'")
        more = f"\n  body: JSON.stringify({json.dumps(body, ensure_ascii=False)}),"
    lines += [f"const answer = await fetch(`${{CHAT}}{address}`, {{", f"  method: '{method}',",
              f"  headers: {{ {', '.join(headers)} }},{more}", "});", "console.log(answer.status, await answer.text());"]
    return "\n".join(lines)


def php(method, path, body, form):
    address = "getenv('CHAT') . '" + re.sub(r"\{(\w+)\}", lambda part: f"' . getenv('{part[1].upper()}') . '", path) + "'"
    headers = ["'Authorization: Bearer ' . getenv('TOKEN')"]
    fields = []
    if form:
        fields = ["    CURLOPT_POSTFIELDS => ['File' => new CURLStringFile('hello', 'notes.txt')],"]
    elif body is not None:
        headers.append("'Content-Type: application/json'")
        text = json.dumps(body, ensure_ascii=False).replace("\\", "\\\\").replace("'", "\\'")
        fields = [f"    CURLOPT_POSTFIELDS => '{text}',"]
    return "\n".join(["<?php", f"$call = curl_init({address.removesuffix(chr(32) + '. ' + chr(39) * 2)});", "curl_setopt_array($call, [",
                      f"    CURLOPT_CUSTOMREQUEST => '{method}',", "    CURLOPT_RETURNTRANSFER => true,",
                      f"    CURLOPT_HTTPHEADER => [{', '.join(headers)}],", *fields, "]);",
                      "$answer = curl_exec($call);", "echo curl_getinfo($call, CURLINFO_RESPONSE_CODE), ' ', $answer, \"\\n\";"])


def python(method, path, body, form):
    names = ["CHAT", "TOKEN", *(part.upper() for part in parts_of(path))]
    address = re.sub(r"\{(\w+)\}", lambda part: f"{{{part[1].upper()}}}", path)
    headers = ['"Authorization": f"Bearer {TOKEN}"']
    data = []
    if body is not None:
        headers.append('"Content-Type": "application/json"')
        data = [f"body = {pformat(body, width=100, sort_dicts=False)}"]
    more = ", data=json.dumps(body).encode()" if data else ""
    return "\n".join([f"import {'json, ' if data else ''}os, urllib.request", *[f'{name} = os.environ["{name}"]' for name in names], *data,
                      f'request = urllib.request.Request(f"{{CHAT}}{address}", method="{method}"{more},',
                      f"    headers={{{', '.join(headers)}}})",
                      "with urllib.request.urlopen(request) as answer:", "    print(answer.status, answer.read().decode())"])
