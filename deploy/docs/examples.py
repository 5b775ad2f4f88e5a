"""Examples of an operation in curl, JavaScript, PHP and Python, made from docs/openapi.yaml. A test runs them.

They take everything that differs between readers from the environment: CHAT (the service's origin), TOKEN, and an id for
each part of a path, as ROOM or MESSAGE.
"""

import json
import re
from pprint import pformat

LANGUAGES = ("curl", "JavaScript", "PHP", "Python")
# Left out: a protocol of its own, a key that is not a user's, pages and probes, and cookies, which are a browser's.
TAGS = {"rooms", "messages", "uploads", "account"}
LEFT_OUT = {"beginSession", "endSession"}


def body_of(operation):
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return content.get("example")


def has_examples(operation):
    return bool(TAGS & set(operation["tags"])) and operation["operationId"] not in LEFT_OUT


def parts_of(path):
    return re.findall(r"\{(\w+)\}", path)


def of(method, path, operation):
    """{language: text}. `path` has its prefix; `{room}` in it becomes ROOM of the environment."""
    # Parameters that a request needs.
    asked = ["q=hello" for one in operation.get("parameters", []) if one.get("$ref", "").endswith("/Query")]
    asked += [f"{one['name']}={one['schema']['example']}" for one in operation.get("parameters", []) if one.get("in") == "query" and "example" in one.get("schema", {})]
    query = asked and f"?{'&'.join(asked)}" or ""
    call = {"method": method.upper(), "path": path + query, "body": body_of(operation),
            "form": fields_of(operation)}
    return {language: make(**call) for language, make in zip(LANGUAGES, (curl, javascript, php, python))}


def fields_of(operation):
    """The numbers that a form with a file also needs; None if the operation accepts no form."""
    content = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    return content and {name: 1 for name in content["schema"].get("required", []) if name != "File"}


def curl(method, path, body, form):
    address = re.sub(r"\{(\w+)\}", lambda part: f"${part[1].upper()}", path)
    lines = [f'curl -X {method} "$CHAT{address}" \\', '  -H "Authorization: Bearer $TOKEN"']
    if form is not None:
        lines[-1] += " \\"
        lines.append("  " + " ".join(f"-F {name}={value}" for name, value in form.items()) + (" " if form else "") + "-F File=@notes.txt")
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
    if form is not None:
        lines += ["const body = new FormData();", *[f"body.append('{name}', {value});" for name, value in form.items()], "body.append('File', new Blob(['hello']), 'notes.txt');"]
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
    if form is not None:
        numbers = "".join(f"'{name}' => {value}, " for name, value in form.items())
        fields = [f"    CURLOPT_POSTFIELDS => [{numbers}'File' => new CURLStringFile('hello', 'notes.txt')],"]
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
    if form is not None:
        headers.append('"Content-Type": "multipart/form-data; boundary=part"')
        parts = [f'name="{name}"\\r\\n\\r\\n{value}' for name, value in form.items()] + ['name="File"; filename="notes.txt"\\r\\n\\r\\nhello']
        data = ["body = ''.join([", *[f"    '--part\\r\\nContent-Disposition: form-data; {part}\\r\\n'," for part in parts], "    '--part--\\r\\n'])"]
    elif body is not None:
        headers.append('"Content-Type": "application/json"')
        data = [f"body = {pformat(body, width=100, sort_dicts=False)}"]
    more = "" if not data else ", data=body.encode()" if form is not None else ", data=json.dumps(body).encode()"
    return "\n".join([f"import {'json, ' if 'json' in more else ''}os, urllib.request", *[f'{name} = os.environ["{name}"]' for name in names], *data,
                      f'request = urllib.request.Request(f"{{CHAT}}{address}", method="{method}"{more},',
                      f"    headers={{{', '.join(headers)}}})",
                      "with urllib.request.urlopen(request) as answer:", "    print(answer.status, answer.read().decode())"])
