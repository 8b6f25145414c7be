"""The HTML of the student's side: the generated page of a board and the pages around it."""

from __future__ import annotations

import functools
import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from bottle import SimpleTemplate

from labnode.locale import Language, Message
from labnode.settings import Settings
from labnode.web import scripts

STATIC = scripts.STATIC
"""The files that the pages load from `static/`."""

_TEMPLATES = Path(__file__).parent / "templates"

# Inline, so that the page can be seen without a second request.
_STYLE = (STATIC / "page.css").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=32)
def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


STYLE_HASH = _hash(_STYLE)
"""What a content security policy needs to allow the pages' style."""

_POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "style-src": f"'self' '{STYLE_HASH}'",
    "form-action": "'self'",
}

# Script modules that every page has, and those that draw a widget, by its name.
_EVERY_PAGE = (
    "labnode",
    "live",
    "wishes",
    "sleep",
    "panel",
    "card",
    "widgets",
    "tasks",
    "layout",
    "notices",
    "programs",
)
_WIDGETS = {
    "switch": "controls",
    "button": "controls",
    "slider": "controls",
    "rgb": "shapes",
    "dial": "shapes",
    "lamp": "readings",
    "value": "readings",
    "text": "readings",
    "bank": "bank",
    "upload": "upload",
    "camera": "media",
    "console": "console",
    "samples": "samples",
}
_NEEDS = {  # loaded with these
    "readings": ("history",),
    "plot": ("chart", "history"),
    "media": ("zoom",),
    "console": ("numbers", "serial"),
    "picture": ("controls",),
}


def render_page(
    boot: Mapping[str, Any], language: Language, *, template: Path | None = None
) -> str:
    """The page of an active session, with all data that it starts with; see `boot`.

    `template` is the lab's own page instead, with the same variables.
    """
    student = boot["state"]["session"]
    widgets = _widgets(boot["board"])
    return _render(
        "page",
        language,
        boot["root"],
        template=template,
        languages=language.all_names,
        title=boot["board"]["title"] or language.texts["site.lab"],
        student=student["full_name"] or student["username"],
        read_only=student["read_only"],
        modules=[*_EVERY_PAGE, *(name for each in widgets for name in _NEEDS.get(each, ()))],
        widgets=widgets,
        boot=_as_data_block(boot),
        script=_script(boot["board"]),
    )


def script_hash(board: Mapping[str, Any]) -> str:
    """What a content security policy needs to allow the script of a board's page."""
    return _hash(_script(board))


def lasting(board: Mapping[str, Any]) -> tuple[str, ...]:
    """The long parts that all pages of a board have in common, in their order."""
    return _STYLE, _script(board)


def _script(board: Mapping[str, Any]) -> str:
    return scripts.inline((*_widgets(board), "page"))


def boot(
    board: Mapping[str, Any],
    state: Mapping[str, Any],
    *,
    token: str | None,
    language: Language,
    asked: str = "",
    sign_of_life: float = 5.0,
    root: str = "",
) -> dict[str, Any]:
    """All that the script of a page starts with.

    `board` is the reply of `api/board`, `state` that of `api/state`. `token` is the session's,
    None for an observer. The page is in `language`, `asked` for by `?locale=`. It polls every
    `sign_of_life` seconds. `root` leads from its URL to the lab's ("" when the page is at
    `{base}/`, "../" one folder below, or `{base}/`).
    """
    return {
        "root": root,
        "token": token,
        "sign_of_life": sign_of_life,
        "language": language.code,
        "locales": language.tags,
        "asked": asked,
        "words": language.section("page"),
        "board": board,
        "state": state,
    }


def content_security_policy(
    settings: Settings, more: Mapping[str, str] | None = None, *, script: str | None = None
) -> str:
    """The Content-Security-Policy of pages that may load `more`, by directive.

    `script` is the hash of the script in the page, if it has one.
    """
    policy = dict(_POLICY)
    if script is not None:
        policy["script-src"] = f"'self' '{script}'"
    for directive, sources in (more or {}).items():
        usual = policy.get(directive, policy["default-src"])
        if "'unsafe-inline'" in sources:  # it does not count beside a hash
            usual = usual.partition(" 'sha256-")[0]
        policy[directive] = f"{usual} {sources}"
    embedders = (settings.allowed_back_origins or ["https:"]) if settings.embed else []
    policy["frame-ancestors"] = " ".join(["'self'", *embedders])
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())


def render_farewell(
    language: Language,
    *,
    reason: str | None = None,
    back: str | None = None,
    recording: bool = False,
    root: str = "",
) -> str:
    """The page after a session; `reason` is why it ended ("time", "exited" …).

    With `recording`, data of the session can be downloaded.
    """
    words = language.section("page", "site")
    return _message(
        "over",
        language,
        root,
        text=words.get(f"over:{reason}", ""),
        back=back if back and back.lower().startswith(("http://", "https://")) else None,
        closing=words["close"],
        recording=recording,
    )


def render_forbidden(language: Language, *, root: str = "", template: Path | None = None) -> str:
    """The page for someone without a session, with status 403.

    `template` is the lab owner's own page instead, with the same variables as `message.html`.
    """
    return _message("forbidden", language, root, template=template)


def render_error(language: Language, *, status: int, message: str, root: str = "") -> str:
    """The page for an address that is not there (404), or where something failed, with a way back.

    `message` is for other kinds of refusals.
    """
    words = language.section("page", "site")
    name = "not-found" if status == 404 else "failed"
    text = words[f"{name}:text"] if status in (404, 500) else message
    return _message(name, language, root, text=text, home=root or "./")


def render_loading(language: Language, *, root: str = "") -> str:
    """The page while the board is not ready yet; it reloads by itself."""
    return _message("loading", language, root, refresh=2)


def render_place(language: Language, title: str, candidates: list[dict[str, Any]]) -> str:
    """The page of `labnode picture`, for those who run the lab; `candidates` may be placed."""
    return _render(
        "place",
        language,
        "",
        title=language.say(Message("site.place", title=title)),
        candidates=_as_data_block(candidates),
    )


def render_admin(language: Language, **values: Any) -> str:
    """The administration's page, at `{base}/admin`; `values` are those of `admin.page`."""
    return _render("admin", language, "", **values)


def render_admin_login(language: Language, **values: Any) -> str:
    """The form that administrators log in with; `values` are those of `Login.page`."""
    return _render("admin_login", language, "", **values)


def render_message(language: Language, *, title: str, text: str, back: str, root: str) -> str:
    """A page with one sentence and a link back."""
    return _render("message", language, root, title=title, text=text, back=back)


def _message(
    name: str, language: Language, root: str, *, template: Path | None = None, **values: Any
) -> str:
    """A page with a title and a text: the words `name` and `name:text`, unless given."""
    words = language.section("page", "site")
    values = {"title": words[name], "text": words.get(f"{name}:text", ""), **values}
    return _render("message", language, root, template=template, **values)


def _render(
    name: str, language: Language, root: str, *, template: Path | None = None, **values: Any
) -> str:
    page = _template(template) if template else _template(_TEMPLATES / f"{name}.html")
    words = language.section("page", "site")
    values = {"words": words, "style": _STYLE, **values}
    return str(page.render(values, language=language.code, root=root))


@functools.cache
def _template(path: Path) -> SimpleTemplate:
    lookup = [str(path.parent), str(_TEMPLATES)]
    return SimpleTemplate(name=path.name, lookup=lookup, encoding="utf8")


def _widgets(board: Mapping[str, Any]) -> list[str]:
    """The modules that draw a board's widgets; unknown widgets are drawn as a value."""
    modules = {_WIDGETS.get(device["widget"], "readings") for device in board["devices"]}
    rows = [*(board["page"] or ()), (board.get("stage") or {}).get("items", ())]
    if any("plot" in item for row in rows for item in row if isinstance(item, dict)):
        modules.add("plot")
    if board.get("picture"):
        modules.add("picture")
    return sorted(modules)


def _as_data_block(value: Mapping[str, Any] | list[Any]) -> str:
    """JSON that cannot end, or comment out, the script element around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
