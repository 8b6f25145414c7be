"""The node's settings as dataclasses; every field says what it is for in its Doc."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from labnode.locale import Message
from labnode.schema import Between, Doc, Duration
from labnode.settings import formats
from labnode.settings.passwords import SHORTEST, is_hashed


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user name and its valid passwords (several while one is being replaced)."""

    username: Annotated[str, formats.username, Doc("The user name of HTTP Basic authentication.")]
    password: Annotated[
        str | list[str],
        formats.password,
        Doc(
            "The password, or a list of passwords that are all valid; in clear, or hashed by "
            "`labnode password`."
        ),
    ] = field(repr=False)

    @property
    def passwords(self) -> tuple[str, ...]:
        return (self.password,) if isinstance(self.password, str) else tuple(self.password)

    @property
    def clear_passwords(self) -> tuple[str, ...]:
        """Those that are not hashed."""
        return tuple(password for password in self.passwords if not is_hashed(password))


@dataclass(frozen=True, kw_only=True)
class AdminAccess(Credentials):
    """Who may administrate the node, and where."""

    host: Annotated[
        Annotated[str, formats.listening_host] | None,
        Doc(
            "The address that the administration listens on, such as 127.0.0.1; by default it is "
            "where the students come, which labnode warns of."
        ),
    ] = None
    port: Annotated[
        int, Between(0, 65535), Doc("The port of the administration, where it has a host.")
    ] = 9080
    totp: Annotated[
        Annotated[str, formats.totp] | None,
        Doc(
            "The key of the codes that logging in needs as well (RFC 6238), as "
            "`labnode password --totp` prints it."
        ),
    ] = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Client(Credentials):
    """A central server that may start sessions; logs and sessions know it by its name."""

    name: Annotated[
        str, formats.client_name, Doc("What logs and sessions call this central server.")
    ]

    @property
    def unsendable(self) -> Message | None:
        """Why central servers cannot send these credentials; None if they can."""
        if all(word.isascii() for word in (self.username, *self.clear_passwords)):
            return None
        return Message("doctor.unsendable", name=self.name)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything about this node that is not in the board file."""

    board: Annotated[Path | None, Doc("The board file that `labnode run` serves.")] = None
    host: Annotated[
        str, formats.listening_host, Doc("The address to listen on; 0.0.0.0 is all of them.")
    ] = "127.0.0.1"
    port: Annotated[int, Between(0, 65535), Doc("The port to listen on; 0 takes any free one.")] = (
        8080
    )
    base_url: Annotated[
        str,
        formats.base_url,
        Doc(
            "Where the lab is for browsers: a path such as /lab1, or with the public host "
            "https://labs.example.org/lab1."
        ),
    ] = ""
    scheme: Annotated[
        Literal["http", "https"],
        Doc(
            "What browsers use to reach the lab where base_url has no host; https behind a "
            "proxy that speaks it."
        ),
    ] = "http"
    trusted_proxies: Annotated[
        list[Annotated[str, formats.address]],
        Doc("IP addresses of reverse proxies whose X-Forwarded headers are believed."),
    ] = field(default_factory=list)
    state_dir: Annotated[
        Path,
        Doc(
            "The directory of labnode.db and the node's key; by default systemd's "
            "STATE_DIRECTORY, else ~/.local/state/labnode/BOARD."
        ),
    ] = Path("/var/lib/labnode")
    weblab: Annotated[Credentials | None, Doc("The credentials of the central server.")] = None
    clients: Annotated[
        list[Client], Doc("Several central servers, each with name, username and password.")
    ] = field(default_factory=list)
    cookie_name: Annotated[
        Annotated[str, formats.cookie_name] | None,
        Doc("The name of the student's cookie; by default it contains the lab's name."),
    ] = None
    cookie_path: Annotated[
        Annotated[str, formats.cookie_path] | None,
        Doc("The path of the student's cookie; by default that of base_url."),
    ] = None
    secret_key: Annotated[
        Annotated[str, formats.secret_key] | None,
        Doc(
            "What the tokens in students' addresses are derived from; by default made once "
            "and kept in state_dir."
        ),
    ] = field(default=None, repr=False)
    embed: Annotated[
        bool, Doc("The lab's page is shown in a frame of the central server's; needs https.")
    ] = False
    unauthorized_link: Annotated[
        Annotated[str, formats.link] | None, Doc("Where those who may not enter are sent.")
    ] = None
    unauthorized_template: Annotated[
        Path | None, Doc("An HTML file that they see where there is no unauthorized_link.")
    ] = None
    allowed_back_origins: Annotated[
        list[Annotated[str, formats.origin]],
        Doc(
            "Where students may be sent back to, such as https://labs.example.org; empty: anywhere."
        ),
    ] = field(default_factory=list)
    allowed_hosts: Annotated[
        list[Annotated[str, formats.public_host]],
        Doc("Host names that may stand in students' addresses; empty: any."),
    ] = field(default_factory=list)
    weblab_base: Annotated[
        Annotated[str, formats.prefix] | None,
        Doc("Another path prefix for the central server's protocol alone."),
    ] = None
    admin: Annotated[
        AdminAccess | None,
        Doc(
            "The credentials of the administration's pages; with host and port, where they are, "
            "and totp, the key of its codes."
        ),
    ] = None
    expired_users_timeout: Annotated[
        Duration, Doc("How long a student whose time is over is still known.")
    ] = 3600
    task_expires: Annotated[
        Duration,
        Doc("How long the results of tasks are kept at least, counted from their session's end."),
    ] = 3600
    history: Annotated[
        Literal[-1] | Duration,
        Doc(
            "How long history and returning users' data are kept after their last use; -1: forever."
        ),
    ] = 180 * 86400.0
    background_threads: Annotated[
        int,
        Between(1, 32),
        Doc("How many threads run the tasks that do not need the hardware's thread."),
    ] = 2
    metrics: Annotated[
        str | None,
        formats.endpoint,
        Doc(
            "Where /metrics is served to Prometheus, such as 127.0.0.1:9464; by default nowhere, "
            "and never where students come."
        ),
    ] = None
    log_level: Annotated[
        str, formats.log_level, Doc("DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    ] = "INFO"
    lifecycle_log: Annotated[
        bool, Doc("Log each session event as one line of JSON, without names.")
    ] = True

    def __post_init__(self) -> None:
        for key in ("name", "username"):
            words = [getattr(client, key) for client in self.all_clients]
            twice = next((word for word in words if words.count(word) > 1), None)
            if twice is not None:
                raise ValueError(Message("setting.twice", key=key, value=repr(twice)))

    @property
    def base_path(self) -> str:
        """ "/lab1" or ""."""
        return urlsplit(self.base_url).path

    @property
    def public_origin(self) -> str | None:
        """ "https://labs.example.org", where base_url has a host."""
        return self.base_url.removesuffix(self.base_path) or None

    @property
    def secure(self) -> bool:
        """Whether browsers reach the lab by https."""
        return (self.public_origin or f"{self.scheme}://").startswith("https://")

    @property
    def all_clients(self) -> list[Client]:
        """Every central server; the one in `weblab` is called "weblab"."""
        if self.weblab is None:
            return list(self.clients)
        weblab = Client(name="weblab", username=self.weblab.username, password=self.weblab.password)
        return [weblab, *self.clients]

    @property
    def secrets(self) -> list[str]:
        """Everything that must not be in any log."""
        pairs: list[Credentials] = [*self.all_clients, *([self.admin] if self.admin else [])]
        words = [password for pair in pairs for password in pair.passwords]
        keys = [self.secret_key, self.admin.totp if self.admin else None]
        return [*words, *filter(None, keys)]

    @property
    def short_passwords(self) -> list[str]:
        """Whose passwords have fewer than 12 characters: "weblab", "admin" ..."""
        named: list[tuple[str, Credentials]] = [(each.name, each) for each in self.all_clients]
        named += [("admin", self.admin)] if self.admin else []
        return [
            name
            for name, pair in named
            if any(len(password) < SHORTEST for password in pair.clear_passwords)
        ]

    @property
    def admin_among_students(self) -> bool:
        """Whether the administration is at the address of the students' pages."""
        return self.admin is not None and self.admin.host is None

    def allows_host(self, host: str) -> bool:
        """Whether `host`, from a Host header, may be in students' addresses."""
        name = formats.host_without_port(host)
        allowed = self.allowed_hosts
        return name is not None and (not allowed or host.lower() in allowed or name in allowed)

    def external_url(self, host: str | None = None, scheme: str | None = None) -> str:
        """The lab's address for browsers without a slash at its end: ".../lab1".

        `host` and `scheme` are those of the request (checked by the caller), for a base_url without
        a host.
        """
        origin = self.public_origin or f"{scheme or self.scheme}://{host or self._own_host()}"
        return origin + self.base_path

    def _own_host(self) -> str:
        try:
            listening = ipaddress.ip_address(self.host)
        except ValueError:
            return f"{self.host}:{self.port}"
        if listening.is_unspecified:
            return f"localhost:{self.port}"
        host = f"[{listening}]" if listening.version == 6 else str(listening)
        return f"{host}:{self.port}"
