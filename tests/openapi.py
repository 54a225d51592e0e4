#!/usr/bin/env python3
"""Holds the API's description to the answers that are really given, with validators that are not ours.

    tests/openapi.py answers FOLDER    the answers that the tests of crates/http recorded there (FRONTDESK_TEST_RECORD)
    tests/openapi.py daemon BINARY     a daemon of its own, asked by a program that makes requests up from the description

Needs what tests/openapi.txt lists. Ends with 1 and says what is wrong when something is.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

PROBLEM = "application/problem+json"
# What is answered where there is no operation.
NO_OPERATION = {"unknown-path", "unknown-channel", "method-not-allowed", "malformed-request", "head-too-large"}


def validated(document):
    """The document, if it is OpenAPI 3.1."""
    faults = list(OpenAPIV31SpecValidator(document).iter_errors())
    for fault in faults[:20]:
        print("not OpenAPI 3.1:", "/".join(map(str, fault.absolute_path)), fault.message)
    if faults:
        sys.exit(1)
    return document


def strict(schema):
    """The same schema, where an object has no field that is not described: what is not described must not be answered."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if made.get("type") == "object" and "properties" in made and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


class Description:
    def __init__(self, document):
        self.document = document
        self.operations = []
        for path, methods in document["paths"].items():
            form = re.compile("^" + re.sub(r"\\\{[a-z]+\\\}", "[^/]+", re.escape(path)) + "$")
            for method, operation in methods.items():
                self.operations.append((method.upper(), form, path, operation))
        # Fixed pieces before places: /v1/channels/x/resume is no message.
        self.operations.sort(key=lambda operation: operation[2].count("{"))
        self.schemas = strict(document["components"]["schemas"])
        self.validators = {}

    def operation(self, method, path):
        for known, form, template, operation in self.operations:
            if known == method and form.match(path):
                return template, operation
        return None, None

    def resolved(self, part):
        while "$ref" in part:
            found = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def faults(self, key, schema, body):
        if schema is True:
            return []
        if key not in self.validators:
            whole = {"components": {"schemas": self.schemas}, **strict(schema)}
            self.validators[key] = Draft202012Validator(whole, format_checker=FormatChecker())
        return [
            "/".join(map(str, fault.absolute_path)) + ": " + fault.message[:300]
            for fault in self.validators[key].iter_errors(body)
        ]


def wrong_with(description, answer, seen):
    """What is wrong with one answer."""
    if "this listener is for watching" in answer["text"]:
        return []  # The administrators' one: what is described is the public one.
    path = answer["path"].split("?")[0]
    status, media_type = str(answer["status"]), answer["headers"].get("content-type", "")
    template, operation = description.operation(answer["method"], path)
    if operation is None:
        if path == "/metrics" and answer["status"] == 200:
            return []
        slug = json.loads(answer["text"] or "{}").get("type", "").rpartition(":")[2]
        return [] if slug in NO_OPERATION else ["there is no such operation in the description"]
    response = operation["responses"].get(status)
    if response is None:
        return [f"the status {status} is not described"]
    seen.add((answer["method"], template, status))
    response = description.resolved(response)
    content = response.get("content", {})
    if not content:
        return [] if answer["text"] == "" else ["a body that is not described"]
    if "*/*" in content:
        return []  # Somebody's file: of any type, and in no form of ours.
    if media_type not in content:
        return [f"the media type {media_type} is not described"]
    body = answer["text"] if media_type == "text/event-stream" else json.loads(answer["text"])
    found = description.faults((answer["method"], template, status, media_type), content[media_type]["schema"], body)
    if status in ("429", "503") and "retry-after" not in answer["headers"]:
        # A wait that nobody can foresee: only the request's own time was over.
        found.append("no Retry-After")
    return found


def answers(folder):
    recorded = []
    for file in sorted(pathlib.Path(folder).glob("answers-*.jsonl")):
        with file.open() as lines:
            recorded.extend(json.loads(line) for line in lines)
    documents = [json.loads(answer["text"]) for answer in recorded if (answer["path"], answer["status"]) == ("/openapi.json", 200)]
    if not documents:
        print(f"no description among the {len(recorded)} answers recorded in {folder}")
        return 1
    # Some tests serve less on purpose.
    description = Description(validated(max(documents, key=lambda document: len(document["paths"]))))
    seen, wrong = set(), 0
    for answer in recorded:
        for fault in wrong_with(description, answer, seen):
            wrong += 1
            if wrong <= 20:
                print(answer["method"], answer["path"], answer["status"], fault)
    for method, _, template, operation in description.operations:
        fine = [status for known, path, status in seen if (known, path) == (method, template) and status < "300"]
        # Those of a channel for tests only need not all be well.
        if not fine and not (template.startswith("/v1/channels/") and operation["operationId"].startswith("/")):
            if "text/event-stream" in str(operation["responses"]):
                continue  # Has no end to record at; its events are snapshots.
            wrong += 1
            print(method, template, "was never seen to go well")
    print(f"{len(recorded)} answers, {len(seen)} kinds of them, {wrong} wrong")
    return 1 if wrong else 0


TOKEN = "checker-checker-checker"
CONFIGURATION = f"""
[server]
listen = "127.0.0.1:PORT"
[tokens.checker]
token = "{TOKEN}"
scopes = ["admin"]
[store]
url = "sqlite:./data"
min_free = "1 MB"
[channels.shop]
kind = "webhook"
"""
# All but two: a request of the right form may still be refused (a moment that is past, a message without any id), and a
# channel's route is shown a good token beside the signature that is made up.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def asked(url, body=None):
    request = urllib.request.Request(url, data=body, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read()


def ready(daemon, url):
    """Waits until the daemon takes work."""
    for _ in range(600):
        if daemon.poll() is not None:
            sys.exit("the daemon does not start")
        try:
            return asked(f"{url}/readyz")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    sys.exit("the daemon is not ready in time")


def daemon(binary):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        url = f"http://127.0.0.1:{(port := free_port())}"
        (folder / "channels.toml").write_text(CONFIGURATION.replace("PORT", str(port)))
        with (folder / "log").open("w") as log:
            command = [str(pathlib.Path(binary).resolve()), "run", "--config", str(folder / "channels.toml")]
            running = subprocess.Popen(command, cwd=folder, stderr=log)
        try:
            ready(running, url)
            validated(json.loads(asked(f"{url}/openapi.json")))
            # Something to be found by what the program makes up from the answers before.
            for number in range(5):
                written = {"id": str(number), "thread": f"t{number % 2}", "from": {"id": "ada"}, "text": "Hello"}
                asked(f"{url}/v1/channels/shop/messages", json.dumps(written).encode())
            program = [
                str(pathlib.Path(sys.executable).with_name("st")),
                "run",
                f"{url}/openapi.json",
                f"--header=Authorization: Bearer {TOKEN}",
                f"--checks={','.join(CHECKS)}",
                # It has no end, and would be waited for.
                "--exclude-path=/v1/changes",
                "--continue-on-failure",
                "--seed=1",
                "--max-examples=15",
                "--no-color",
            ]
            return subprocess.run(program, cwd=folder, check=False).returncode
        finally:
            running.terminate()
            running.wait(40)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["daemon", binary]:
            sys.exit(daemon(binary))
        case ["answers", folder]:
            sys.exit(answers(folder))
        case _:
            print(__doc__, file=sys.stderr)
            sys.exit(2)
