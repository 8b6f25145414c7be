"""The HTTP API in words: a page and an OpenAPI file. A test compares them with the routes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from labnode import __version__
from labnode.weblab.messages import API_VERSION

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}
_ANY: Schema = {}


def _object(required: str = "", /, **properties: Schema) -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    return {**made, "required": required.split()} if required else made


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        "error message",
        error={"const": True},
        code={**_TEXT, "description": "For programs; see the list of errors."},
        message={**_TEXT, "description": "One sentence for people."},
    ),
    "Start": _object(
        "server_initial_data",
        client_initial_data={"type": "object", "description": "What the page of the server sent."},
        server_initial_data={
            "type": "object",
            "description": "`priority.queue.slot.length` (seconds) is needed; also "
            "`priority.queue.slot.start`, `request.username`, `request.username.unique`, "
            "`request.full_name`, `request.locale`, `request.experiment_id.experiment_name` and "
            "`request.experiment_id.category_name`. The rest is handed to the lab.",
        },
        back={**_TEXT, "description": "Where the student is sent afterwards."},
    ),
    "LdeStart": _object(
        "schedule",
        request=_object("", locale=_TEXT, backUrl=_TEXT, ldeReservationId=_TEXT),
        laboratory=_object("", name=_TEXT, category=_TEXT),
        user=_object("", username=_TEXT, unique=_TEXT, fullName=_TEXT),
        schedule=_object("length", length={**_NUMBER, "description": "Seconds."}, start=_TEXT),
    ),
    "Started": _object("url session_id", url=_TEXT, session_id=_TEXT),
    "ShouldFinish": _object(
        "should_finish",
        should_finish={
            **_NUMBER,
            "description": "-1: the session is over and the board is clean. More than 0: ask again "
            "after so many seconds. 0: ask again whenever you like.",
        },
    ),
    "State": _object(
        "version devices",
        run={**_TEXT, "description": "Changes when labnode starts again."},
        version={"type": "integer", "description": "Grows with each change."},
        now={**_NUMBER, "description": "The node's clock, in seconds."},
        devices={
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "description": "`value`, and where they apply `error`, `stale`, `sampled`, "
                "`connected`, `locked`, `held`, `unheard`, `edges_paused`.",
            },
        },
        tasks=_list(_ref("Task")),
        session=_ref("Session"),
        faults=_list(_object("", name=_TEXT, message=_ANY, latched=_FLAG, active=_FLAG)),
        notices=_list(_object("", number=_NUMBER, text=_ANY)),
    ),
    "Session": _object(
        "active time_left",
        read_only=_FLAG,
        active=_FLAG,
        username=_TEXT,
        full_name=_TEXT,
        locale={"type": ["string", "null"]},
        time_left={**_NUMBER, "description": "Seconds."},
        back={"type": ["string", "null"]},
        experiment_name={"type": ["string", "null"]},
        category_name={"type": ["string", "null"]},
        restarted=_FLAG,
        reason={"type": ["string", "null"], "description": "Why the session has ended."},
    ),
    "Task": _object(
        "task_id name status",
        task_id=_TEXT,
        name=_TEXT,
        status={"enum": ["submitted", "running", "done", "failed"]},
        data=_ANY,
        result=_ANY,
        error=_ANY,
        stopping=_FLAG,
    ),
    "Result": _object("result devices", result=_ANY, devices={"type": "object"}),
    "Success": _object("success", success=_FLAG, time_left=_NUMBER, reason=_TEXT),
}


@dataclass(frozen=True)
class Operation:
    """One request, and what it is answered with."""

    method: str
    path: str
    summary: str
    access: str = "active"  # who may; "server", "admin", or as in labnode/web/auth.py
    sends: Schema | None = None
    media: str = "application/json"  # of what it sends
    gives: Schema | str = field(default_factory=dict)  # a schema of JSON, or another media type
    query: tuple[str, ...] = ()
    refused: tuple[int, ...] = ()
    status: int = 200  # of the answer


_DEVICE_ERRORS = (400, 403, 404, 409, 503, 504)

OPERATIONS = (
    # --- central servers ---
    Operation("GET", "/weblab/health", "Whether the lab is well. Without credentials it gives no "
              "reasons.", "public",
              gives=_object("success", found=_FLAG, success=_FLAG, message=_TEXT)),
    Operation("GET", "/weblab/sessions/api", "The version of the protocol.", "public",
              gives=_object("api_version", api_version={"const": API_VERSION["api_version"]})),
    Operation("GET", "/weblab/sessions/test", "Whether the credentials are right and students can "
              "come; else why not.", "server",
              gives=_object("valid", valid=_FLAG, error_messages=_list(_TEXT)), refused=(401,)),
    Operation("POST", "/weblab/sessions/", "Start a session. The answer comes when the board is "
              "ready, or has been cleaned after a start that failed.", "server",
              sends=_ref("Start"), gives=_ref("Started"), refused=(400, 401, 413, 503)),
    Operation("GET", "/weblab/sessions/{session_id}/status", "Whether the session should end.",
              "server", gives=_ref("ShouldFinish"), refused=(401,)),
    Operation("POST", "/weblab/sessions/status/multiple", "The same for several sessions.",
              "server",
              sends=_object("session_ids", session_ids=_list(_TEXT), timeout=_NUMBER),
              gives=_object("status", status={"type": "object"}), refused=(400, 401)),
    Operation("POST", "/weblab/sessions/{session_id}", "End the session: `{\"action\": "
              "\"delete\"}`.", "server", sends=_object("action", action={"const": "delete"}),
              gives=_object("message", message=_TEXT, finished=_FLAG, ask_again=_NUMBER),
              refused=(400, 401)),
    Operation("DELETE", "/weblab/sessions/{session_id}", "End the session.", "server",
              gives=_object("message", message=_TEXT, finished=_FLAG, ask_again=_NUMBER),
              refused=(401,)),
    Operation("GET", "/ldl/sessions/api", "The version of the protocol.", "public",
              gives=_object("api_version", api_version={"const": API_VERSION["api_version"]})),
    Operation("GET", "/ldl/sessions/test", "Whether the credentials are right and students can "
              "come; else why not.", "server",
              gives=_object("valid", valid=_FLAG, error_messages=_list(_TEXT)), refused=(401,)),
    Operation("POST", "/ldl/sessions/", "Start a session.", "server",
              sends=_ref("LdeStart"), gives=_ref("Started"), refused=(400, 401, 413, 503)),
    Operation("GET", "/ldl/sessions/{session_id}/status", "Whether the session should end.",
              "server", gives=_ref("ShouldFinish"), refused=(401,)),
    Operation("POST", "/ldl/sessions/status/multiple", "The same for several sessions.", "server",
              sends=_object("session_ids", session_ids=_list(_TEXT), timeout=_NUMBER),
              gives=_object("status", status={"type": "object"}), refused=(400, 401)),
    Operation("POST", "/ldl/sessions/{session_id}", "End the session: `{\"action\": \"delete\"}`.",
              "server", sends=_object("action", action={"const": "delete"}),
              gives=_ref("ShouldFinish"), refused=(400, 401)),
    Operation("DELETE", "/ldl/sessions/{session_id}", "End the session.", "server",
              gives=_ref("ShouldFinish"), refused=(401,)),
    # --- students ---
    Operation("GET", "/callback/{token}", "Enter a session: sets the cookie and leads to the page.",
              "public", gives="text/html", refused=(403,)),
    Operation("GET", "/callback/{token}/poll", "Say that the student is there.", "public",
              gives=_ref("Success"), refused=(403,)),
    Operation("POST", "/callback/{token}/poll", "Say that the student is there.", "public",
              gives=_ref("Success"), refused=(403,)),
    Operation("POST", "/callback/{token}/leaving", "The page closes, or is loaded again.", "public",
              gives=_ref("Success"), refused=(403,)),
    Operation("POST", "/callback/{token}/logout", "End the session.", "public",
              gives=_ref("Success"), refused=(403,)),
    Operation("GET", "/observe/{token}", "Enter as an observer.", "public", gives="text/html",
              refused=(403,)),
    Operation("GET", "/observe", "The student's page, to look at.", "observer", gives="text/html"),
    Operation("GET", "/", "The student's page.", gives="text/html", refused=(403,)),
    Operation("GET", "/api/page", "All that a page starts from.", "observer"),
    Operation("GET", "/api/session", "The student, and the time left.", "observer",
              gives=_ref("Session")),
    Operation("GET", "/api/board", "What the page shows: title, devices with their commands, "
              "tasks; and in `snapshot` the states of the devices.", "observer",
              gives=_object("devices", title=_TEXT, devices=_list({"type": "object"}),
                            tasks=_list({"type": "object"}), page=_ANY, record=_ANY,
                            snapshot={"type": "object"})),
    Operation("GET", "/api/state", "The state of everything.", "observer", gives=_ref("State")),
    Operation("GET", "/api/live", "A WebSocket: the state, then what changes, in the same shape.",
              "observer", gives="websocket"),
    Operation("POST", "/api/devices/{device}/{command}", "Run a command of a device. The body is a "
              "list or an object of arguments, or empty.", sends=_ANY, gives=_ref("Result"),
              refused=_DEVICE_ERRORS),
    Operation("POST", "/api/devices/{device}/program", "Write a file with a programmer; the task "
              "that does it.", sends={"type": "string", "format": "binary"},
              media="application/octet-stream", gives=_ref("Task"), query=("name",),
              refused=(400, 403, 404, 409, 413), status=202),
    Operation("POST", "/api/uploads/{device}", "The same.",
              sends={"type": "string", "format": "binary"}, media="application/octet-stream",
              gives=_ref("Task"), query=("name",), refused=(400, 403, 404, 409, 413), status=202),
    Operation("POST", "/api/devices/{device}/blank", "Write the programmer's blank image; the "
              "task.",
              gives=_ref("Task"), refused=(403, 404, 409), status=202),
    Operation("GET", "/api/devices/{name}/console", "A WebSocket to a serial port.", "observer",
              gives="websocket"),
    Operation("GET", "/api/devices/{name}/stream", "A camera's pictures.", "observer",
              gives="multipart/x-mixed-replace", refused=(404, 503)),
    Operation("GET", "/api/devices/{name}/snapshot", "One picture, at most a second old.",
              "observer", gives="image/jpeg", refused=(404, 503)),
    Operation("POST", "/api/tasks/{name}", "Start a task of the lab; the body is an object of "
              "arguments.", sends={"type": "object"}, gives=_ref("Task"),
              refused=(400, 403, 404, 409)),
    Operation("GET", "/api/tasks/{task_id}", "A task of this session.", "observer",
              gives=_ref("Task"), refused=(404,)),
    Operation("POST", "/api/tasks/{task_id}/stop", "Ask a task to stop.", gives=_ref("Task"),
              refused=(403, 404)),
    Operation("GET", "/api/devices/{device}/samples.{kind}", "The array that a device shows now; "
              "`kind` is csv or json.", gives="text/csv", refused=(403, 404)),
    Operation("GET", "/api/picture", "The board's picture, where it has one.", "observer",
              gives="image/svg+xml", refused=(403, 404)),
    Operation("GET", "/api/recording.csv", "What was recorded in this session, also after it.",
              "login", gives="text/csv", refused=(403, 404)),
    Operation("GET", "/api/recording.json", "The same as JSON.", "login",
              gives=_object("", devices=_list(_TEXT), rows=_list(_list(_ANY)),
                            valid=_list(_list(_FLAG))), refused=(403, 404)),
    Operation("POST", "/api/session/hand", "The student asks for help, or no longer does.",
              sends=_object("", raised=_FLAG), refused=(400, 403)),
    Operation("POST", "/api/program-key", "An address for the student's own programs.",
              gives=_object("", url=_TEXT), refused=(403,)),
    Operation("DELETE", "/api/program-key", "Its end.", refused=(403,)),
    Operation("GET", "/api/labnode_client.py", "The Python client with that address in it.",
              gives="text/x-python", refused=(403, 404)),
    # --- administration ---
    Operation("GET", "/admin", "The administration's page.", "admin", gives="text/html",
              refused=(401,)),
    Operation("POST", "/admin/estop", "Emergency stop.", "admin", refused=(401,)),
    Operation("POST", "/admin/clear", "End an emergency stop, a quarantine and latched interlocks; "
              "`message` says what was cleared.", "admin", gives=_object("message", message=_TEXT),
              refused=(401, 409)),
    Operation("POST", "/admin/drain", "Take no new students.", "admin", refused=(401,)),
    Operation("POST", "/admin/undrain", "Take students again.", "admin", refused=(401,)),
    Operation("POST", "/admin/reset", "Every device to its safe state.", "admin", refused=(401,)),
    Operation("POST", "/admin/devices/{device}/{command}", "Try a device while nobody is on the "
              "board; the arguments are fields of a form.", "admin", sends={"type": "object"},
              media="application/x-www-form-urlencoded", refused=(400, 401, 404, 409)),
    Operation("POST", "/admin/tasks/{name}/run", "Run a task of the lab.", "admin",
              refused=(401, 404, 409)),
    Operation("POST", "/admin/tasks/{task}/cancel", "Ask a task to stop.", "admin",
              refused=(401, 404)),
)  # fmt: skip

# Routes that are no API: the page's own files and forms, other spellings of what is above, and the
# addresses that a lab's Python adds.
OTHERS = re.compile(
    r"/static/|/favicon|/admin/(static|login|logout|$)|/weblab/sessions/(api|test|new|status|action)\."
)

_SIDES = (
    ("/weblab/", "Central servers: WebLab-Deusto", "HTTP Basic, with the credentials of `weblab` "
     "or one of `clients` in the [settings](settings.md). What fails is answered with `error`, "
     "`success` and `message`. WebLab-Deusto's other spelling, `/weblab/sessions/new.php`, "
     "`status.php?session_id=…` and so on, works as well."),
    ("/ldl/", "Central servers: LabDiscoveryEngine", "The same credentials and sessions."),
    ("/(callback|observe|$)", "Students: entering and leaving", "The token in the address is the "
     "student's. The cookie that the first visit sets belongs to that browser."),
    ("/api/", "Students: the board", "The cookie of the session. Requests that change something "
     "have to come from the lab's own page. With the header `Labnode-Deadline`, in seconds of the "
     "node's clock (`now` in `api/state`), a request that could not begin before that is refused "
     "with 504. `Labnode-Asked`, on the same clock, says when the student "
     "asked: a command from before its device went to safe by itself is refused with 409."),
    ("/admin", "Administration", "HTTP Basic with the credentials of `admin` in the settings, "
     "unless they have a `totp`; a browser gets a form. The address is that of `admin: {host, "
     "port}`. See [Administration](../admin.md)."),
)  # fmt: skip

_MEANINGS = {
    400: "What was sent cannot be used.",
    401: "The credentials are missing or wrong.",
    403: "No session, or it is over.",
    404: "There is no such device, command, task or recording.",
    409: "Not possible now: an interlock or limit, a task that runs already, too little time.",
    413: "The body is too large.",
    503: "Busy, starting, or a device does not work; `Retry-After` says when to ask again.",
    504: "It could not be done in time.",
}


def page() -> str:
    """docs/reference/http-api.md."""
    parts = [
        "<!-- made from the code: python -m pytest tests/site says how -->",
        "# HTTP API",
        "Every address below is relative to the lab's own, which the setting `base_url` moves. "
        "Bodies and answers are JSON unless it says otherwise. [openapi.json](openapi.json) has "
        "all of it for programs (OpenAPI 3.1). Errors have a `code`: see [Errors](errors.md).",
    ]
    for addresses, title, about in _SIDES:
        chosen = [each for each in OPERATIONS if re.match(addresses, each.path)]
        rows = [
            f"| `{o.method} {o.path}` | {_who(o)} | {o.summary}{_refusals(o)} |" for o in chosen
        ]
        parts += [
            f"## {title}",
            about,
            "\n".join(["| request | who | |", "| --- | --- | --- |", *rows]),
        ]
    rows = [f"| {status} | {meaning} |" for status, meaning in _MEANINGS.items()]
    parts += ["## Statuses", "\n".join(["| status | |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _who(operation: Operation) -> str:
    return {
        "public": "anybody",
        "server": "central server",
        "active": "student",
        "login": "student, also after the session",
        "observer": "student, observer",
        "admin": "administrator",
    }[operation.access]


def _refusals(operation: Operation) -> str:
    numbers = ", ".join(map(str, operation.refused))
    return f" Refused with {numbers}." if numbers else ""


def openapi() -> dict[str, Any]:
    """docs/reference/openapi.json."""
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "labnode",
            "version": __version__,
            "description": "A laboratory's node: central servers start sessions, students use the "
            "board, administrators look after it.",
        },
        "servers": [{"url": "http://127.0.0.1:8080", "description": "The default address."}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "server": {"type": "http", "scheme": "basic"},
                "admin": {"type": "http", "scheme": "basic"},
                "student": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "labnode",
                    "description": "Set by /callback/{token}; the setting cookie_name names it.",
                },
            },
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    scheme = {"public": None, "server": "server", "admin": "admin"}.get(operation.access, "student")
    made: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _name(operation),
        "security": [{scheme: []}] if scheme else [],
        "responses": {str(operation.status): _answer(operation)},
    }
    if operation.gives == "websocket":
        made["responses"] = {"101": {"description": "The connection becomes a WebSocket."}}
    error = {"content": {"application/json": {"schema": _ref("Error")}}}
    for status in operation.refused:
        made["responses"][str(status)] = {"description": _MEANINGS[status], **error}
    names = re.findall(r"\{(\w+)\}", operation.path)
    if names or operation.query:
        made["parameters"] = [
            {"name": name, "in": place, "required": True, "schema": _TEXT}
            for place, given in (("path", names), ("query", operation.query))
            for name in given
        ]
    if operation.sends is not None:
        made["requestBody"] = {"content": {operation.media: {"schema": operation.sends}}}
    return made


def _answer(operation: Operation) -> dict[str, Any]:
    if isinstance(operation.gives, str):
        return {"description": "Done.", "content": {operation.gives: {}}}
    return {"description": "Done.", "content": {"application/json": {"schema": operation.gives}}}


def _name(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path) or ["page"]
    return "_".join([operation.method.lower(), *words])
