"""The node's settings: file, environment and command line, and what people read when wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import ConfigError
from labnode.schema import options
from labnode.settings import AdminAccess, Client, Credentials, Settings, load_settings
from labnode.settings.load import variables
from labnode.settings.passwords import HashedPassword

WEBLAB = {"LABNODE_WEBLAB_USERNAME": "weblab", "LABNODE_WEBLAB_PASSWORD": "31415"}
DESIGN = """
board host port base_url scheme trusted_proxies state_dir weblab clients cookie_name cookie_path
secret_key embed unauthorized_link unauthorized_template allowed_back_origins allowed_hosts
weblab_base admin expired_users_timeout task_expires history background_threads metrics
log_level lifecycle_log
"""


class Node:
    """A settings file with an environment."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "node.yaml"
        self.environ: dict[str, str] = {"HOME": "/home/pi", "PATH": "/bin", **WEBLAB}

    def load(
        self,
        text: str | None = None,
        environ: Mapping[str, str] | None = None,
        **overrides: Any,
    ) -> Settings:
        if text is not None:
            self.file.write_text(text)
            self.file.chmod(0o600)
        path = None if text is None else self.file
        return load_settings(path, self.environ | dict(environ or {}), overrides)

    def told(self, *args: Any, **overrides: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(*args, **overrides)
        lines = [str(problem) for problem in caught.value.problems]
        return [line.replace(str(self.file), "node.yaml") for line in lines]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


# --- where settings come from ---


def test_without_file_and_with_credentials_alone_everything_has_its_default(node: Node):
    assert node.load() == Settings(
        state_dir=Path("/home/pi/.local/state/labnode"),
        weblab=Credentials(username="weblab", password="31415"),
    )


def test_the_settings_are_those_of_the_design_and_each_says_what_it_is_for():
    assert [field.name for field in fields(Settings)] == DESIGN.split()
    for cls in (Settings, Client, AdminAccess):
        assert all(option.doc.endswith(".") for option in options(cls))


def test_the_command_line_wins_over_the_environment_which_wins_over_the_file(node: Node):
    text = "host: 10.0.0.1\nport: 1000\nscheme: https\n"
    settings = node.load(text, {"LABNODE_HOST": "10.0.0.2", "LABNODE_PORT": "2000"}, port=3000)
    assert (settings.scheme, settings.host, settings.port) == ("https", "10.0.0.2", 3000)


def test_nested_settings_are_merged_key_by_key(node: Node):
    text = "weblab: {username: deusto, password: secret}\n"
    settings = load_after_writing(node, text, {"LABNODE_WEBLAB_PASSWORD": "other"})
    assert settings.weblab == Credentials(username="deusto", password="other")
    settings = load_after_writing(node, text, {}, weblab={"password": "third"})
    assert settings.weblab == Credentials(username="deusto", password="third")


def load_after_writing(
    node: Node, text: str, environ: Mapping[str, str], **overrides: Any
) -> Settings:
    node.environ = {}
    return node.load(text, environ, **overrides)


def test_what_is_empty_or_none_was_not_given(node: Node):
    settings = node.load("port: 1000\n", {"LABNODE_PORT": ""}, host=None, state_dir=None)
    assert (settings.port, settings.host) == (1000, "127.0.0.1")


def test_a_file_of_comments_alone_is_a_file(node: Node):
    assert node.load("# port: 80\n").port == 8080


def test_every_setting_can_be_given_in_the_environment(node: Node, tmp_path: Path):
    template = tmp_path / "no.html"
    template.write_text("no")
    given = {
        "LABNODE_BOARD": "boards/x.yaml",
        "LABNODE_HOST": "::",
        "LABNODE_PORT": "80",
        "LABNODE_BASE_URL": "/lab1",
        "LABNODE_SCHEME": "https",
        "LABNODE_TRUSTED_PROXIES": "127.0.0.1, ::1",
        "LABNODE_STATE_DIR": "/srv/lab",
        "LABNODE_WEBLAB_USERNAME": "on",
        "LABNODE_WEBLAB_PASSWORD": "007",
        "LABNODE_CLIENTS": "[{name: lde, username: u, password: [p, q]}]",
        "LABNODE_COOKIE_NAME": "lab1",
        "LABNODE_COOKIE_PATH": "/lab1",
        "LABNODE_SECRET_KEY": "0123456789abcdef",
        "LABNODE_EMBED": "yes",
        "LABNODE_UNAUTHORIZED_LINK": "https://example.org/?why",
        "LABNODE_UNAUTHORIZED_TEMPLATE": str(template),
        "LABNODE_ALLOWED_BACK_ORIGINS": "https://a.example.org,https://b.example.org",
        "LABNODE_ALLOWED_HOSTS": "a.example.org",
        "LABNODE_WEBLAB_BASE": "/protocol",
        "LABNODE_ADMIN_USERNAME": "root",
        "LABNODE_ADMIN_PASSWORD": "a,b",
        "LABNODE_ADMIN_HOST": "127.0.0.1",
        "LABNODE_ADMIN_PORT": "9081",
        "LABNODE_ADMIN_TOTP": "jbsw y3dp ehpk 3pxp jbsw y3dp eh",
        "LABNODE_EXPIRED_USERS_TIMEOUT": "2h",
        "LABNODE_TASK_EXPIRES": "60",
        "LABNODE_HISTORY": "30d",
        "LABNODE_METRICS": "[::1]:9464",
        "LABNODE_BACKGROUND_THREADS": "4",
        "LABNODE_LOG_LEVEL": "debug",
        "LABNODE_LIFECYCLE_LOG": "no",
    }
    assert set(given) == set(variables())
    assert node.load(None, given) == Settings(
        board=Path("boards/x.yaml"),
        host="::",
        port=80,
        base_url="/lab1",
        scheme="https",
        trusted_proxies=["127.0.0.1", "::1"],
        state_dir=Path("/srv/lab"),
        weblab=Credentials(username="on", password="007"),
        clients=[Client(name="lde", username="u", password=["p", "q"])],
        cookie_name="lab1",
        cookie_path="/lab1",
        secret_key="0123456789abcdef",
        embed=True,
        unauthorized_link="https://example.org/?why",
        unauthorized_template=template,
        allowed_back_origins=["https://a.example.org", "https://b.example.org"],
        allowed_hosts=["a.example.org"],
        weblab_base="/protocol",
        admin=AdminAccess(
            username="root",
            password="a,b",
            host="127.0.0.1",
            port=9081,
            totp="JBSWY3DPEHPK3PXPJBSWY3DPEH",
        ),
        expired_users_timeout=7200.0,
        task_expires=60.0,
        history=2592000.0,
        metrics="[::1]:9464",
        background_threads=4,
        log_level="DEBUG",
        lifecycle_log=False,
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("0", False), ("true", True), ("False", False), ("on", True), ("NO", False)],
)
def test_booleans_in_the_environment_have_many_spellings(node: Node, text: str, value: bool):
    assert node.load(None, {"LABNODE_EMBED": text}).embed is value


def test_paths_in_the_file_count_from_the_file_and_others_from_here(node: Node):
    directory = node.file.parent
    settings = node.load("board: boards/x.yaml\nstate_dir: /srv/lab\n")
    assert (settings.board, settings.state_dir) == (directory / "boards/x.yaml", Path("/srv/lab"))
    settings = node.load("board: x.yaml\n", board=Path("y.yaml"))
    assert settings.board == Path("y.yaml")


def test_a_file_that_systemd_hands_over_has_whole_paths(node: Node):
    handed_over = {"CREDENTIALS_DIRECTORY": str(node.file.parent)}
    assert node.load("board: /etc/x.yaml\n", handed_over).board == Path("/etc/x.yaml")
    assert node.told("board: x.yaml\n", handed_over) == [
        "node.yaml:1: 'board' has to begin with '/': systemd hands a copy over"
    ]
    assert node.load("board: x.yaml\n", {"CREDENTIALS_DIRECTORY": "/run/other"}).board


def test_the_home_directory_can_be_written_as_a_tilde(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/pi")
    assert node.load("state_dir: ~/lab\n").state_dir == Path("/home/pi/lab")


def test_the_state_directory_is_systemds_or_one_for_each_board(node: Node):
    def state_dir(environ: Mapping[str, str]) -> str:
        return str(
            load_settings(None, {**WEBLAB, **environ}, {"board": "b/thermal.yaml"}).state_dir
        )

    assert state_dir({"STATE_DIRECTORY": "/var/lib/labnode/a:/x", "HOME": "/root"}) == (
        "/var/lib/labnode/a"
    )
    assert state_dir({"XDG_STATE_HOME": "/x", "HOME": "/root"}) == "/x/labnode/thermal"
    assert state_dir({"HOME": "/home/pi"}) == "/home/pi/.local/state/labnode/thermal"
    assert state_dir({}) == "/var/lib/labnode/thermal"


# --- what is wrong ---


def test_all_problems_of_all_sources_come_at_once(node: Node):
    text = "prot: 80\nlog_level: loud\nhost: 5\nweblab: {username: 'a:b'}\nport: 1\nport: 2\n"
    environ = {
        "LABNODE_PORT": "abc",
        "LABNODE_EMBED": "2",
        "LABNODE_TRUSTED_PROXIES": "127.0.0.1,proxy",
        "LABNODE_BOARDS": "x",
        "LABNODE_TEST_SEED": "5",
        "LABNODE_INSTALL_DIR": "/opt",
    }
    node.environ = {}
    assert node.told(text, environ, scheme="ftp") == [
        "node.yaml:1: unknown key 'prot'; did you mean 'port'?",
        "node.yaml:2: 'log_level': expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not the "
        "text 'loud'",
        "node.yaml:3: 'host': expected a text, not the number 5 (quotes make it a text)",
        "node.yaml:4: weblab.password is missing: give it in the settings file, or as "
        "LABNODE_WEBLAB_PASSWORD in the environment",
        "node.yaml:4: 'weblab.username': expected a name without ':' in it, not the text 'a:b'",
        "node.yaml:6: the key 'port' is there twice, first at node.yaml:5",
        "LABNODE_BOARDS: there is no such setting; did you mean 'LABNODE_BOARD'?",
        "LABNODE_EMBED: 'embed': expected true or false, not the number 2",
        "LABNODE_PORT: 'port': expected a whole number, not the text 'abc'",
        "LABNODE_TRUSTED_PROXIES: 'trusted_proxies[1]': expected the IP address of a "
        "proxy such as 127.0.0.1, not the text 'proxy'",
        "option --scheme: 'scheme': expected http or https, not the text 'ftp'",
    ]


def test_a_number_out_of_range_in_the_environment_is_told_as_a_number(node: Node):
    assert node.told(None, {"LABNODE_PORT": "70000"}) == [
        "LABNODE_PORT: 'port': expected a number from 0 to 65535, not 70000"
    ]


def test_missing_credentials_name_both_ways_to_give_them(node: Node):
    node.environ = {}
    (sentence,) = node.told("port: 80\n")
    assert "weblab: {username: ..., password: ...}" in sentence
    assert "LABNODE_WEBLAB_USERNAME and LABNODE_WEBLAB_PASSWORD in the environment" in sentence
    (sentence,) = node.told(None, {"LABNODE_WEBLAB_USERNAME": "u"})
    assert sentence.startswith("LABNODE_WEBLAB_USERNAME: weblab.password is missing")
    assert "LABNODE_WEBLAB_PASSWORD" in sentence


def test_the_credentials_of_a_named_client_are_enough(node: Node):
    node.environ = {}
    settings = node.load("clients:\n- {name: lde, username: u, password: p}\n")
    assert settings.all_clients == [Client(name="lde", username="u", password="p")]
    assert node.told("clients:\n- name: lde\n  username: u\n") == [
        "node.yaml:2: missing key 'password' in 'clients[0]'"
    ]


def test_problems_of_the_environment_come_with_a_file_that_cannot_be_read(node: Node):
    assert [line.split(": ")[0] for line in node.told("a: [", {"LABNODE_X": "1"})] == [
        "node.yaml:1",
        "LABNODE_X",
    ]
    assert node.told("- a\n") == ["node.yaml:1: expected a mapping of settings, such as port: 8080"]


def test_clients_in_the_environment_that_are_no_yaml_are_a_sentence(node: Node):
    (sentence,) = node.told(None, {"LABNODE_CLIENTS": "[{"})
    assert sentence.startswith("LABNODE_CLIENTS:1: ")


def test_bytes_in_the_environment_that_are_no_text_are_a_sentence(node: Node):
    assert node.told(None, {"LABNODE_WEBLAB_PASSWORD": "caf\udce9"}) == [
        "LABNODE_WEBLAB_PASSWORD: the value is not UTF-8 text"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "weblab: {username: w, password: 271828}",
        "weblab: {username: w, password: [271828]}",
        "weblab: {username: w, password: '271828\\t'}".replace("'", '"'),
        "weblab: {username: w, password: !271828}",
        "weblab: {username: w, password: 271828",
        "secret_key: '271828'",
        "secret_key: 271828",
    ],
)
def test_a_secret_never_stands_in_a_problem(node: Node, text: str):
    node.environ = {}
    assert "271828" not in "".join(node.told(text))


def test_the_admin_key_of_codes_never_stands_in_a_problem_or_the_repr(node: Node):
    assert "short" not in "".join(node.told("admin: {username: u, password: p, totp: short}"))
    key = "JBSWY3DPEHPK3PXPJBSWY3DPEH"
    settings = node.load(f"admin: {{username: u, password: p, totp: {key}}}")
    assert key not in repr(settings)
    assert key in settings.secrets


def test_whose_passwords_are_short_is_known(node: Node):
    node.environ = {}
    hashed = HashedPassword.of("x")
    settings = node.load(
        "weblab: {username: u, password: [twelve-chars, eleven-char]}\n"
        f"clients: [{{name: lde, username: l, password: '{hashed}'}}]\n"
        "admin: {username: boss, password: twelve-chars}\n"
    )
    assert settings.short_passwords == ["weblab"]
    assert settings.all_clients[1].clear_passwords == ()


def test_an_administration_without_a_host_is_among_the_students(node: Node):
    assert not node.load().admin_among_students
    assert node.load("admin: {username: u, password: p}\n").admin_among_students
    settings = node.load("admin: {username: u, password: p, host: 127.0.0.1}\n")
    assert not settings.admin_among_students


def test_a_host_of_the_administration_is_no_secret_that_others_may_read(
    node: Node, caplog: pytest.LogCaptureFixture
):
    node.environ = {}
    (node.file.parent / "secrets.yaml").write_text("word: a-long-password\n")
    (node.file.parent / "secrets.yaml").chmod(0o600)
    node.file.write_text(
        "weblab: {username: u, password: !secret word}\n"
        "admin: {username: u, password: !secret word, host: 127.0.0.1, port: 9081}\n"
    )
    node.file.chmod(0o644)
    load_settings(node.file, {}, {})
    assert caplog.messages == []


def test_a_secret_never_stands_in_the_repr(node: Node):
    settings = node.load("secret_key: 0123456789abcdef_key\n")
    assert "31415" not in repr(settings)
    assert "0123456789abcdef_key" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weblab: {username: '', password: x}", "expected a name without ':'"),
        ("weblab: {username: u, password: ''}", "expected a password that is not empty"),
        ("weblab: {username: u, password: []}", "expected a password that is not empty"),
        ("weblab: {username: u, password: }", "expected a password that is not empty"),
        ("weblab: {username: u, password: scrypt$1}", "expected a hashed password as `labnode"),
        (
            f"weblab: {{username: u, password: scrypt$1024$8$1${'a' * 22}${'b' * 43}}}",
            "with N=16384",
        ),
        (f"weblab: {{username: u, password: scrypt$65536$8$1${'a' * 22}${'b' * 43}}}", "32 MB"),
        ("admin: {username: u, password: p, totp: short}", "expected a key of 26 or more letters"),
        ("admin: {username: u, password: p, host: 'http://x'}", "expected an address such as"),
        ("admin: {username: u, password: p, port: 70000}", "expected a number from 0 to 65535"),
        ("weblab: yes", "expected a mapping with the keys username, password"),
        ("secret_key: short", "expected at least 16 characters"),
        ("history: -2", "expected -1 or a duration"),
        ("metrics: 9464", "expected a text"),
        ("metrics: '0.0.0.0'", "expected an IP address and a port such as 127.0.0.1:9464"),
        ("metrics: localhost:9464", "expected an IP address and a port"),
        ("metrics: '127.0.0.1:99999'", "expected an IP address and a port"),
        ("metrics: '::1:9464'", "expected an IP address and a port"),
        ("background_threads: 0", "expected a number from 1 to 32"),
        ("host: http://x", "expected an address such as 127.0.0.1"),
        ("cookie_name: a b", "expected letters, digits"),
        ("cookie_path: lab1", "expected a path such as /lab1"),
        ("cookie_path: ''", "expected a path such as /lab1"),
        ("unauthorized_link: javascript:alert(1)", "expected an address such as https"),
        ("unauthorized_link: //evil.example.org", "expected an address such as https"),
        ("unauthorized_link: /a b", "expected an address such as https"),
        ("unauthorized_template: nowhere.html", "there is no such file to read"),
        ("allowed_back_origins: [labs.example.org]", "expected an origin such as"),
        ("allowed_back_origins: ['https://labs.example.org/x']", "expected an origin such as"),
        ("allowed_hosts: ['https://labs.example.org']", "expected a host such as"),
        ("trusted_proxies: [10.0.0.0/8]", "expected the IP address of a proxy"),
        ("weblab_base: https://x/y", "expected a path such as /lab1"),
        ("expired_users_timeout: -1", "expected a duration"),
        ("clients: [{name: weblab, username: u, password: p}]", "the same name, 'weblab'"),
        ("clients: [{name: lde, username: weblab, password: p}]", "the same username, 'weblab'"),
        ("clients: [{name: a b, username: u, password: p}]", "expected letters, digits"),
    ],
)
def test_what_a_setting_cannot_be_is_told(node: Node, text: str, words: str):
    if text.startswith("weblab:"):
        node.environ = {}
    sentences = node.told(text)
    assert len(sentences) == 1
    assert words in sentences[0]


@pytest.mark.parametrize(
    ("mode", "text", "warned"),
    [
        (0o644, "weblab: {username: u, password: p}", True),
        (0o644, "port: 80", False),
        (0o640, "weblab: {username: u, password: p}", False),
    ],
)
def test_a_file_with_passwords_that_everyone_can_read_is_warned_about(
    node: Node, mode: int, text: str, warned: bool, caplog: pytest.LogCaptureFixture
):
    node.file.write_text(text)
    node.file.chmod(mode)
    with caplog.at_level(logging.WARNING):
        load_settings(node.file, WEBLAB, {})
    assert ("chmod 600" in caplog.text) is warned


# --- addresses ---


@pytest.mark.parametrize(
    ("base_url", "base_path", "origin"),
    [
        ("", "", None),
        ("/", "", None),
        ("/lab1/", "/lab1", None),
        ("/a/b-1", "/a/b-1", None),
        ("https://labs.example.org", "", "https://labs.example.org"),
        ("https://Labs.example.org:443/lab1/", "/lab1", "https://labs.example.org"),
        ("http://10.0.0.5:8080/", "", "http://10.0.0.5:8080"),
        ("http://[::1]:8080/x", "/x", "http://[::1]:8080"),
    ],
)
def test_the_base_url_is_a_path_with_or_without_a_public_host(
    node: Node, base_url: str, base_path: str, origin: str | None
):
    settings = node.load(None, base_url=base_url)
    assert settings.base_url == (origin or "") + base_path
    assert (settings.base_path, settings.public_origin) == (base_path, origin)


@pytest.mark.parametrize(
    "base_url",
    [
        "lab1",
        "/lab1?x=1",
        "/lab1#x",
        "/a//b",
        "/../b",
        "/a b",
        "/ñ",
        "//labs.example.org",
        "ftp://labs.example.org",
        "https://",
        "https:///lab1",
        "https://a b/x",
        "https://u:p@labs.example.org",
        "https://labs.example.org:99999",
        "https://labs.example.org:0",
        "https://labs.example.org/?x",
        "https://labs.example.org/#",
        "https://labs.example.org?",
        "https://[::1",
        "https://la\tbs.example.org",
    ],
)
def test_what_is_no_base_url_is_told(node: Node, base_url: str):
    (sentence,) = node.told(None, base_url=base_url)
    assert "expected a path such as /lab1 or an address such as" in sentence


def test_the_address_for_browsers_has_the_public_host_or_that_of_the_request(node: Node):
    public = node.load(None, base_url="https://labs.example.org/lab1")
    assert public.external_url("10.0.0.5:8080") == "https://labs.example.org/lab1"
    local = node.load(None, base_url="/lab1", scheme="https")
    assert local.external_url("labs.example.org") == "https://labs.example.org/lab1"
    assert node.load().external_url("10.0.0.5:8080") == "http://10.0.0.5:8080"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://localhost:8080"),
        ("::", "http://localhost:8080"),
        ("::1", "http://[::1]:8080"),
        ("pi.local", "http://pi.local:8080"),
    ],
)
def test_without_any_host_the_address_is_the_nodes_own(node: Node, host: str, url: str):
    assert node.load(None, host=host).external_url(None) == url


@pytest.mark.parametrize(
    ("base_url", "scheme", "secure"),
    [
        ("", "http", False),
        ("", "https", True),
        ("https://x.example.org", "http", True),
        ("http://x.example.org", "https", False),
    ],
)
def test_it_is_known_whether_browsers_come_by_https(
    node: Node, base_url: str, scheme: str, secure: bool
):
    assert node.load(None, base_url=base_url, scheme=scheme).secure is secure


def test_origins_are_written_as_browsers_write_them(node: Node):
    text = "allowed_back_origins: ['HTTPS://Labs.Example.org:443/', 'http://x:8080']"
    assert node.load(text).allowed_back_origins == ["https://labs.example.org", "http://x:8080"]


def test_the_central_server_is_a_client_called_weblab_before_the_others(node: Node):
    text = "clients: [{name: lde, username: u, password: [p, q]}]"
    first, second = node.load(text).all_clients
    assert (first.name, first.passwords) == ("weblab", ("31415",))
    assert (second.name, second.passwords) == ("lde", ("p", "q"))


MADE_UP = {"username": "weblab", "password": "made up for this run"}


def made_up(environ: Mapping[str, str], **overrides: Any) -> str | None:
    """The user name of the central server when credentials may be made up."""
    settings = load_settings(None, environ, {"state_dir": "/tmp/x", **overrides}, made_up=MADE_UP)
    return settings.weblab and settings.weblab.username


def test_credentials_that_are_made_up_count_only_where_none_are_given() -> None:
    assert made_up({}) == "weblab"
    assert made_up({**WEBLAB, "LABNODE_WEBLAB_USERNAME": "mine"}) == "mine"
    clients = [{"name": "deusto", "username": "d", "password": "quite a long one"}]
    assert made_up({}, clients=clients) is None


@pytest.mark.parametrize(
    "reachable", [{"host": "0.0.0.0"}, {"host": "lab1"}, {"base_url": "https://labs.example.org"}]
)
def test_none_are_made_up_where_others_can_reach_the_node(reachable: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="credentials of the central server are missing"):
        made_up({}, **reachable)
