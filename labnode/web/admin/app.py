"""The addresses under `/admin`: the page, and what its buttons do."""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from bottle import HTTPError, HTTPResponse, request, static_file

from labnode.clock import Clock
from labnode.errors import LabnodeError
from labnode.http.basic_auth import RememberedAddresses
from labnode.http.replies import App, Errors, error_reply, json_reply, redirect
from labnode.jsondata import parse
from labnode.lab import Node
from labnode.lab.pages import locales
from labnode.locale import Language
from labnode.settings import Settings
from labnode.web import html
from labnode.web.admin.login import Login
from labnode.web.admin.logtail import LogTail
from labnode.web.admin.page import NodeView, Trends
from labnode.web.admin.totp import Memory
from labnode.web.admin.trial import Trial
from labnode.web.auth import check_origin

log = logging.getLogger(__name__)

Commands = Mapping[str, Callable[..., dict[str, Any]]]
"""The commands of the control socket, by name."""

_STATIC = Path(__file__).parent / "static"
_ACTIONS = ("estop", "clear", "drain", "undrain")
_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' '{html.STYLE_HASH}'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [("Content-Security-Policy", _POLICY), ("Referrer-Policy", "same-origin")]  # forms
_LONGEST_FORM = 65536  # bytes


class Admin:
    """The administration, a WSGI application for `/admin` and below.

    It answers those whom `login` lets in, and takes no requests that change something from other
    sites. `settings` are those of its address. `fault` says what is wrong with the node, or None.
    """

    def __init__(
        self,
        login: Login,
        settings: Settings,
        node: Node,
        commands: Commands,
        clock: Clock,
        *,
        fault: Callable[[], str | None],
    ) -> None:
        self._login = login
        self._trial = Trial(node, clock)
        self._trends = Trends(node.board, clock)
        self._tail = LogTail(settings.secrets)
        self._instance = secrets.token_hex(4)  # open pages see by it that all is new
        self._settings = settings
        self._node = node
        self._commands = commands
        self._clock = clock
        self._fault = fault
        self._app = App()
        self._app.default_error_handler = self._error
        self._app.add_hook("before_request", self._check)
        self._app.install(Errors(self._refusal))
        self._app.install(self._done)
        self._app.get("/admin", callback=self.page)
        self._app.get("/admin/", callback=lambda: redirect(self._home))
        self._app.get("/admin/static/<path:path>", callback=_static)
        login.serve(self._app)
        self._app.post("/admin/reset", callback=self.reset)
        self._app.post("/admin/devices/<device>/<command>", callback=self.try_out)
        self._app.post("/admin/tasks/<name>/run", callback=self.run_task)
        self._app.post("/admin/tasks/<task>/cancel", callback=self.cancel_task)
        for action in _ACTIONS:
            self._app.post(f"/admin/{action}", callback=partial(self.command, action))

    def start(self) -> None:
        """Start keeping the last lines of the log and the last hour of devices."""
        self._tail.start()
        self._trends.start()

    def stop(self, timeout: float) -> bool:
        """Stop; False when a thread goes on."""
        self._tail.stop()
        self._trends.stop()
        return self._trial.stop(timeout)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, *_HEADERS], *error)

        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def page(self) -> HTTPResponse:
        """The node's state now; an open page asks for it repeatedly."""
        view = self._view()
        values = view.values(self._tail.entries[::-1])
        page = html.render_admin(
            self._language,
            instance=self._instance,
            by_browser=self._login.by_browser,
            **values,
        )
        return HTTPResponse(page, **{"Cache-Control": "no-store"})

    def reset(self) -> dict[str, Any]:
        """Every device to its safe state."""
        self._log("reset")
        self._trial.reset()
        return {}

    def try_out(self, device: str, command: str) -> dict[str, Any]:
        """Run a device's command; the fields of the form are its arguments."""
        parameters = {
            parameter["name"]: parameter
            for each in self._node.board.describe(hidden=True)
            for spec in each["commands"]
            for parameter in spec["parameters"]
            if (each["name"], spec["name"]) == (device, command)
        }
        self._log(f"{device}.{command}")
        return {"result": self._trial.command(device, command, _arguments(parameters))}

    def command(self, action: str) -> dict[str, Any]:
        """Do a command of the control socket."""
        self._log(action)
        why = {"why": "the administration's page"} if action == "estop" else {}
        faults, status = self._node.board.faults, self._commands["status"]()
        done = self._commands[action](**why)
        if action == "clear":
            done["message"] = self._view().cleared(faults, status, done)
        return done

    def run_task(self, name: str) -> dict[str, Any]:
        """Queue a task of the lab."""
        self._log(f"task {name}")
        answer = self._commands["run_task"](name=name)
        error = answer["error"]
        return {} if error is None else {"result": error["message"]}

    def cancel_task(self, task: str) -> dict[str, Any]:
        """Stop a task that waits or runs."""
        self._log("the stop of a task")
        self._commands["cancel_task"](task=task)
        return {}

    def _view(self) -> NodeView:
        """The node, in the language of the person who asks."""
        return NodeView(
            self._node,
            self._commands,
            self._clock,
            trends=self._trends,
            language=self._language,
            fault=self._fault,
        )

    @property
    def _language(self) -> Language:
        """That of the person who asks."""
        return self._node.board.file.catalogues.best(locales())

    def _log(self, what: str) -> None:
        address = request.environ.get("REMOTE_ADDR", "")
        log.info("%s, asked for by the administrator at %s.", what, address)

    def _check(self) -> None:
        """Raise the reply that refuses the current request, where it has to be refused."""
        if (refusal := self._login.refusal()) is not None:
            raise refusal
        try:
            check_origin(self._settings)
        except LabnodeError as error:
            raise error_reply(error) from None

    # ------------------------------------------------------------------ replies

    @property
    def _home(self) -> str:
        return f"{self._settings.base_path}/admin"

    def _done(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """A Bottle plugin: a script gets what buttons do as JSON, a browser the page."""

        def answer(*args: Any, **kwargs: Any) -> HTTPResponse:
            done = view(*args, **kwargs)
            if isinstance(done, HTTPResponse):
                return done
            if not _is_browser():
                return json_reply({"success": True, **done})
            response = redirect(self._home)
            response.status = 303
            return response

        return answer

    def _refusal(self, error: LabnodeError) -> HTTPResponse:
        if not _is_browser():
            return error_reply(error, self._language.say(error.words))
        sentence = self._language.say(error.words)  # an operator may read the details
        return HTTPResponse(self._message(sentence), error.status)

    def _error(self, error: HTTPError) -> Any:
        """What Bottle itself refuses, and what is a bug."""
        if error.status_code >= 500:
            log.error("%s %s failed.", request.method, request.path, exc_info=error.exception)
        if _is_browser():
            return self._message(str(error.status_line))
        error.content_type = "application/json"
        return json.dumps({"error": True, "code": "http", "message": str(error.status_line)})

    def _message(self, sentence: str) -> str:
        language = self._language
        return html.render_message(
            language,
            title=language.texts["admin.refused"],
            text=sentence,
            back=self._home,
            root=f"{self._home}/",
        )


def _static(path: str) -> HTTPResponse:
    of_students = path in ("page.css", "icon.svg")  # at an address of its own it needs them too
    response = static_file(path, root=str(html.STATIC if of_students else _STATIC))
    response.set_header("Cache-Control", "no-cache")  # revalidated each time, with a 304
    return response


def _is_browser() -> bool:
    return "text/html" in request.get_header("Accept", "")


def _arguments(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of the form as JSON values, without optional ones that are empty."""
    text = request.environ["wsgi.input"].read(_LONGEST_FORM).decode("utf-8", "replace")
    arguments = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        about = parameters.get(name, {})
        if value or "default" not in about:
            arguments[name] = value if about.get("type") == "str" else _json(value)
    return arguments


def _json(text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        return text  # the command refuses it


@contextmanager
def administration(
    settings: Settings,
    node: Node,
    commands: Commands,
    clock: Clock,
    *,
    fault: Callable[[], str | None],
    known: RememberedAddresses,
    memory: Memory,
) -> Iterator[Admin | None]:
    """The administration during the block, where the settings have credentials for it.

    `known` are the addresses that were let in; `memory` keeps which code was used last.
    """
    if settings.admin is None:
        yield None
        return
    if not settings.admin_among_students:  # through ssh, or a proxy that says what browsers use
        settings = dataclasses.replace(settings, base_url=settings.base_path, scheme="http")
    assert settings.admin is not None
    catalogues = node.board.file.catalogues
    login = Login(settings.admin, settings, clock, known, memory=memory, catalogues=catalogues)
    admin = Admin(login, settings, node, commands, clock, fault=fault)
    admin.start()
    try:
        yield admin
    finally:
        admin.stop(0.5)
