"""Whether the agent could start at all with its present files. Pure.

dockerd refuses a variable without a name (``invalid environment variable: =x``) or with a NUL,
Linux an environment string of more than 131,071 bytes (``MAX_ARG_STRLEN``), and the agent ends
with ``Error loading config`` if its JSON file is malformed (aws/amazon-ecs-agent
``agent/config/config.go``, ``fileConfig``). A restart with such files leaves no agent.
"""

from __future__ import annotations

from ecsauth.credentials.json_text import JSONTextError, Pairs, loads_pairs
from ecsauth.engine_auth.agent_json import TYPE_NAME
from ecsauth.engine_auth.env_file import parse_lines

MAX_VARIABLE_BYTES = 131_071


def env_file_fault(text: bytes) -> str:
    """Return the fault in an ``ecs.config`` that keeps the agent from starting; empty if none."""
    for number, line in enumerate(parse_lines(text), 1):
        if "=" not in line.text:
            continue  # ecs-init ignores such a line
        variable = f"{line.name}={line.value}".encode("utf-8", "surrogateescape")
        if not line.name:
            return f"line {number} sets a variable without a name, which dockerd refuses"
        if b"\0" in variable:
            return f"line {number} has a NUL byte, which dockerd refuses"
        if len(variable) > MAX_VARIABLE_BYTES:
            return (
                f"the variable in line {number} has {len(variable):,} bytes; Linux allows"
                f" {MAX_VARIABLE_BYTES:,}"
            )
    return ""


def json_file_fault(text: bytes) -> str:
    """Return the fault in the agent's JSON file that keeps it from starting; empty if none.

    An empty file counts as missing, and ``null`` is read.
    """
    if not text:
        return ""
    if text.startswith(b"\xef\xbb\xbf"):
        return "it starts with a byte order mark"
    try:
        document = loads_pairs(text.decode("utf-8", "surrogateescape"))
    except JSONTextError as error:
        return f"it is {error}"
    if document is None:
        return ""
    if not isinstance(document, Pairs):
        return "it is not a JSON object"
    for name, value in document:
        if name.lower() == TYPE_NAME.lower() and not isinstance(value, (str, type(None))):
            return f"{TYPE_NAME} is not a string"
    return ""
