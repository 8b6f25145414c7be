"""The house of docs/architecture.md: who may import whom, where each library lives, and manners."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator

import pytest

from tests.house import (
    MOST,
    ROOT,
    House,
    Source,
    figures,
    imports,
    is_ours,
    name_of,
    read_house,
    room_of,
)

Rule = Callable[[House], Iterator[str]]

# A room is a module or a package in labnode/; `labnode` is labnode/__init__.py. A room may import
# the rooms in its row, which stand above it, so there are no cycles. "+tasks" is tasks and all that
# tasks may import, "everything" is all rows above. Inside a package imports are free.
HOUSE = """
    locale    ->
    errors    -> locale
    clock     -> locale
    audit     ->
    threads   ->
    events    ->
    context   ->
    jsondata  -> errors
    files     ->
    schema    -> locale errors
    settings  -> locale schema errors
    store     -> files locale clock errors
    supervisor ->
    drivers   -> supervisor files locale schema threads clock errors
    board     -> drivers files locale schema events clock errors
    worker    -> locale clock errors
    tasks     -> worker store locale jsondata context events clock errors
    sessions  -> tasks worker store locale jsondata events audit clock errors
    lab       -> sessions tasks worker store board +drivers files context events
    control   -> locale jsondata threads clock errors
    http      -> settings jsondata threads clock errors
    weblab    -> http sessions settings locale jsondata audit clock errors
    client    ->
    web       -> +lab http settings jsondata threads
    labnode   -> lab clock
    system    -> locale context events audit clock
    doctor    -> system board drivers supervisor settings locale clock errors
    wizard    -> board drivers locale schema jsondata errors
    prove     -> weblab wizard board drivers worker store system locale events clock errors
    install   -> clock errors
    node      -> everything
    cli       -> everything
    __main__  -> cli
    testing   -> everything
"""

# These rooms import at module level only what stands here, the rest in the function that needs it:
# `labnode --help` and `import labnode.errors` must not load the whole house.
AT_ONCE = {"cli": {"errors"}, "labnode": set[str]()}
WHOLE = {"labnode.cli.demo", "labnode.cli.autoreload"}  # loaded by the commands that need them

# Third-party libraries and their homes.
HOMES = """
    bottle        -> lab weblab http web
    click         -> cli
    gpiozero      -> drivers
    h11           -> http
    huey          -> store tasks
    lgpio         -> drivers
    prometheus_client -> system
    serial        -> drivers
    pyvisa        -> drivers.instruments.wire
    smbus2        -> drivers.buses.i2c
    sqlite_utils  -> store
    wsproto       -> http web.lab_websockets
    yaml          -> schema
"""
DISTRIBUTIONS = {"serial": "pyserial", "yaml": "pyyaml"}  # where the two names differ
FROM_THE_SYSTEM = {"lgpio"}  # apt's python3-lgpio: not every Pi has a wheel of it

MOST_LINES = 500
# Attributes that libraries call: gpiozero's pins and devices, sqlite3's connections, Bottle's apps.
HOOKS_OF_LIBRARIES = {
    "when_activated",
    "when_changed",
    "when_deactivated",
    "when_rotated",
    "text_factory",
    "default_error_handler",
}
FORBIDDEN_NAMES = {"util", "utils", "common", "core", "helper", "helpers", "manager", "managers"}
TIME_READERS = re.compile(
    r"(time|monotonic|perf_counter|clock_gettime)(_ns)?|sleep|localtime|gmtime"
)
DATE_READERS = ("now", "utcnow", "today")
FORBIDDEN_MODULES = {"http.cookies": "takes quadratic time; see labnode/http/cookies.py"}
# Where mistakes in files are found, and by what they are told.
FIND_MISTAKES = tuple(
    f"labnode.{room}" for room in ("schema", "settings", "board", "drivers", "clock", "lab")
)
TELL_MISTAKES = {
    *("ValueError", "ExpressionError", "ConfigError", "Problem", "add", "wrong", "_wrong", "_bad"),
    *("unexpected", "unlike", "_unlike", "_expected", "_matching", "_fatal", "_unreadable"),
    *("Between", "Joined", "build"),
}
YIELD_MISTAKES = {"misfits", "mistakes", "warnings"}
ARE_TOLD = {"expected", "message", "hint", "why", "reason", "sentence", "advice", "there", "note"}
SENTENCE = re.compile(r"[a-z]{2,}[,;:]? ('?\{?[a-z]{2,}|$)|^[,;:]? ?[a-z]{2,} [a-z]")
# Rooms and modules that read what labnode has written, or a few KB in a process that is short;
# all other JSON may be anybody's.
IN_A_STUDENTS_PROCESS = "client"  # no part of a node
READ_OWN_JSON = {
    IN_A_STUDENTS_PROCESS,
    "board.config.own_texts",
    "cli",
    "control.client",
    "doctor.node",
    "install",
    "jsondata",
    "lab.recordings",
    "locale",
    "prove.boot",
    "store.store",
    "supervisor",
    "tasks.queues",
    "testing",
    "weblab.bodies",
    "wizard.board_schema",
}
RUN_TEXT = ("eval", "exec", "os.system", "os.popen", "subprocess.getoutput")


def rows(table: str) -> dict[str, list[str]]:
    """{"errors": [], "events": ["errors"], ...} of a table as above."""
    pairs = (line.partition("->") for line in table.strip().splitlines())
    return {name.strip(): names.split() for name, _, names in pairs}


def allowed_rooms() -> dict[str, set[str]]:
    """HOUSE with "+room" and "everything" written out."""
    allowed: dict[str, set[str]] = {}
    for room, names in rows(HOUSE).items():
        allowed[room] = set()
        for name in names:
            if name == "everything":
                allowed[room] |= set(allowed) - {room}
            else:
                plain = name.removeprefix("+")
                assert plain in allowed, f"{room} may import only what stands above it, not {plain}"
                allowed[room] |= {plain, *(allowed[plain] if name != plain else ())}
    return allowed


# --- the rules: each names every place that breaks it, as "file:line: what is wrong" ---


def rooms_import_only_what_stands_in_their_row(house: House) -> Iterator[str]:
    allowed = allowed_rooms()
    for source in house:
        room = room_of(source.module)
        if room not in allowed:
            yield f"{source.path}:1: '{room}' is not a room of the house; give it a row in HOUSE"
            continue
        for found in imports(source, house):
            target = room_of(found.module)
            if not is_ours(found.module) or target == room or found.name == "__version__":
                continue
            if target == "labnode":
                yield source.at(found.node, f"takes {found.name or 'all'} from the root package")
            elif target not in allowed[room]:
                may = " ".join(sorted(allowed[room])) or "nothing"
                yield source.at(found.node, f"{room} imports {target}; it may import: {may}")
            elif source.module not in WHOLE and (
                found.when == "loading" and target not in AT_ONCE.get(room, {target})
            ):
                yield source.at(found.node, f"{room} imports {target} outside of a function")


def modules_import_each_other_in_no_circle(house: House) -> Iterator[str]:
    edges: dict[str, dict[str, str]] = {source.module: {} for source in house}
    for source in house:
        for found in imports(source, house):
            if found.when != "called" and found.module in edges and found.module != source.module:
                edges[source.module].setdefault(found.module, source.at(found.node, ""))
    done: set[str] = set()

    def follow(module: str, way: list[str]) -> Iterator[str]:
        if module in way:
            circle = [*way[way.index(module) :], module]
            yield f"{edges[way[-1]][module]}a circle of imports: {' -> '.join(circle)}"
        elif module not in done:
            for target in edges[module]:
                yield from follow(target, [*way, module])
            done.add(module)

    for module in edges:
        yield from follow(module, [])


def libraries_stay_in_their_homes(house: House) -> Iterator[str]:
    homes = rows(HOMES)
    for source in house:
        here = source.module.removeprefix("labnode.")
        for found in imports(source, house):
            library = found.module.split(".")[0]
            if is_ours(found.module) or library in sys.stdlib_module_names:
                continue
            if library not in homes:
                yield source.at(found.node, f"{library} has no home; give it a row in HOMES")
            elif not any(here == home or here.startswith(f"{home}.") for home in homes[library]):
                home = " ".join(homes[library])
                yield source.at(found.node, f"{here} imports {library}, whose home is: {home}")


def unsafe_modules_are_not_used(house: House) -> Iterator[str]:
    for source in house:
        if source.module == "labnode.testing":
            continue  # a client, which reads the node's own cookies
        for found in imports(source, house):
            if found.module in FORBIDDEN_MODULES:
                why = FORBIDDEN_MODULES[found.module]
                yield source.at(found.node, f"{found.module} {why}")


def libraries_are_declared(house: House, pyproject: str | None = None) -> Iterator[str]:
    if pyproject is None:
        pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {}).values()  # those that only some boards need
    requirements = [*project["dependencies"], *(text for extra in extras for text in extra)]
    declared = {re.split(r"[^\w.-]", text, maxsplit=1)[0].lower() for text in requirements}
    for source in house:
        for found in imports(source, house):
            library = found.module.split(".")[0]
            known = is_ours(found.module) or library in sys.stdlib_module_names
            distribution = DISTRIBUTIONS.get(library, library.replace("_", "-"))
            if not known and library not in FROM_THE_SYSTEM and distribution not in declared:
                yield source.at(found.node, f"{distribution} is not declared in pyproject.toml")


def modules_are_short(house: House) -> Iterator[str]:
    for source in house:
        lines = len(source.text.splitlines())
        if lines > MOST_LINES:
            yield f"{source.path}:{lines}: {lines} lines; {MOST_LINES} is the most"


def names_say_what_is_inside(house: House) -> Iterator[str]:
    for source in house:
        for part in source.module.split("."):
            if part.strip("_") in FORBIDDEN_NAMES:
                yield f"{source.path}:1: '{part}' says nothing; name it after what it does"


def modules_open_with_one_sentence(house: House) -> Iterator[str]:
    for source in house:
        first = (ast.get_docstring(source.tree) or "").split("\n\n")[0]
        if not first:
            yield f"{source.path}:1: there is no docstring"
        elif not first.endswith(".") or re.search(r"[.!?]\s+[A-Z]", first):
            yield f"{source.path}:1: the docstring has to open with one sentence, not: {first!r}"


def only_the_clock_reads_time(house: House) -> Iterator[str]:
    for source in house:
        if source.module in ("labnode.clock", f"labnode.{IN_A_STUDENTS_PROCESS}"):
            continue
        known = names_imported(source)
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Attribute | ast.Name) or not (used := name_of(node)):
                continue
            first, *rest = used.split(".")
            module, *names = ".".join([known.get(first, first), *rest]).split(".")
            if (module == "time" and names and TIME_READERS.fullmatch(names[0])) or (
                module == "datetime" and len(names) == 2 and names[1] in DATE_READERS
            ):
                yield source.at(node, f"{used} reads the time; only labnode/clock/__init__.py does")


def names_imported(source: Source) -> dict[str, str]:
    """What the names in a file stand for: {"t": "time", "sleep": "time.sleep"}."""
    known: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return known


def text_is_never_run_as_code(house: House) -> Iterator[str]:
    for source, node in calls(house):
        if name_of(node.func) in RUN_TEXT:
            yield source.at(node, f"{name_of(node.func)}() runs text as code")
        shell = keyword(node, "shell")
        if shell and not (isinstance(shell, ast.Constant) and shell.value is False):
            yield source.at(node, "shell= runs text in a shell; pass a list of arguments")


def json_from_outside_is_parsed_within_limits(house: House) -> Iterator[str]:
    """By `jsondata.parse`, because `json.loads` may use a thread's whole stack."""
    for source in house:
        here = source.module.removeprefix("labnode.")
        if here in READ_OWN_JSON or here.split(".")[0] in READ_OWN_JSON:
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.loads", "json.load"):
                yield source.at(node, "json.loads reads what may be anybody's; see jsondata.parse")


def mistakes_come_from_the_catalogues(house: House) -> Iterator[str]:
    """What is wrong with a file is a `Message`, never a sentence of English in the code."""
    for source in house:
        if not source.module.startswith(FIND_MISTAKES):
            continue
        for said in words_of_mistakes(source):
            for text in english_outside_of_messages(said):
                yield source.at(text, f"{ast.unparse(text)} is in English alone: docs/languages.md")


def words_of_mistakes(source: Source) -> Iterator[ast.AST]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in TELL_MISTAKES:
            yield from (*node.args, *(each.value for each in node.keywords))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id in ARE_TOLD for each in targets):
                yield node.value
        elif isinstance(node, ast.FunctionDef) and node.name in YIELD_MISTAKES:
            given = [each for each in ast.walk(node) if isinstance(each, ast.Yield | ast.Return)]
            yield from (each.value for each in given if each.value is not None)


def english_outside_of_messages(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Message", "Text", "Doc"):
        return
    text = node.value if isinstance(node, ast.Constant) else None
    if isinstance(text, str) and SENTENCE.search(text):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from english_outside_of_messages(child)


def threads_have_names(house: House) -> Iterator[str]:
    for source, call in calls(house):
        last = name_of(call.func).rpartition(".")[2]
        if last == "Thread" and not keyword(call, "name"):
            yield source.at(call, "a thread without name=")
        if last == "ThreadPoolExecutor" and not keyword(call, "thread_name_prefix"):
            yield source.at(call, "a pool without thread_name_prefix=")
        if name_of(call.func) == "threading.Timer":
            yield source.at(call, "a Timer, whose thread has no name")
    for source in house:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                bases = {name_of(base).rpartition(".")[2] for base in node.bases}
                if "Thread" in bases and not any(names_thread(part) for part in ast.walk(node)):
                    yield source.at(node, f"{node.name} does not name its thread")


def names_thread(node: ast.AST) -> bool:
    """Whether this is `super().__init__(name=...)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr == "__init__" and keyword(node, "name") is not None
    return False


def no_function_is_put_into_another_object(house: House) -> Iterator[str]:
    """What a part needs comes in by its constructor: only that can be followed from there."""
    methods = methods_of(house)
    for source in house:
        seen = set[ast.AST]()
        for scope in ast.walk(source.tree):
            if not isinstance(scope, ast.FunctionDef | ast.Module):
                continue
            functions = {part.name for part in scope.body if isinstance(part, ast.FunctionDef)}
            for target, value in assignments(scope):
                own = isinstance(target.value, ast.Name) and target.value.id in ("self", "cls")
                text = f"{ast.unparse(target)} = {ast.unparse(value)}"
                if target.attr in HOOKS_OF_LIBRARIES or target in seen:
                    continue
                if not own and is_function(value, functions, methods):
                    seen.add(target)
                    yield source.at(target, f"{text} puts a function into another object")
                elif own and isinstance(value, ast.Attribute) and value.attr in methods:
                    seen.add(target)
                    yield source.at(target, f"{text} is another object's method: write a method")


def a_class_has_a_name_of_its_own(house: House) -> Iterator[str]:
    known: dict[str, str] = {}
    for source in house:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef):
                other = known.setdefault(node.name, source.path)
                if other != source.path:
                    yield source.at(node, f"{other} has a class {node.name}, too")


def methods_of(house: House) -> set[str]:
    """The names that only methods have: no property and no attribute in the house has them."""
    methods, others = set[str](), set[str]()
    for source in house:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef):
                        (others if part.decorator_list else methods).add(part.name)
                    elif isinstance(part, ast.AnnAssign):
                        others.add(name_of(part.target))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                value = node.value
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    same = isinstance(value, ast.Attribute) and value.attr == name_of(target)[5:]
                    if name_of(target).startswith("self.") and not same:
                        others.add(name_of(target)[5:])
    return methods - others


def assignments(scope: ast.AST) -> Iterator[tuple[ast.Attribute, ast.expr]]:
    """Each `a.b = value` in a function or module."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    yield target, node.value


def is_function(value: ast.expr, functions: set[str], methods: set[str]) -> bool:
    if isinstance(value, ast.Call):
        return name_of(value.func).rpartition(".")[2] == "partial"
    if isinstance(value, ast.Attribute):
        return value.attr in methods
    return isinstance(value, ast.Lambda) or (isinstance(value, ast.Name) and value.id in functions)


def calls(house: House) -> Iterator[tuple[Source, ast.Call]]:
    for source in house:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                yield source, node


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in node.keywords if k.arg == name), None)


# --- the house as it stands ---

wires = no_function_is_put_into_another_object
mistakes = mistakes_come_from_the_catalogues
RULES: list[Rule] = [
    rooms_import_only_what_stands_in_their_row,
    modules_import_each_other_in_no_circle,
    libraries_stay_in_their_homes,
    unsafe_modules_are_not_used,
    libraries_are_declared,
    modules_are_short,
    names_say_what_is_inside,
    modules_open_with_one_sentence,
    only_the_clock_reads_time,
    text_is_never_run_as_code,
    json_from_outside_is_parsed_within_limits,
    mistakes_come_from_the_catalogues,
    threads_have_names,
    no_function_is_put_into_another_object,
    a_class_has_a_name_of_its_own,
]


@pytest.fixture(scope="module")
def labnode() -> House:
    return read_house()


def test_the_house_is_no_larger_than_its_figures_allow(labnode: House) -> None:
    found = figures(labnode)
    assert {name: found[name] for name in MOST if found[name] > MOST[name]} == {}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule, labnode: House) -> None:
    broken = list(dict.fromkeys(rule(labnode)))
    assert not broken, "\n" + "\n".join(broken)


def test_every_row_of_the_house_names_only_rooms_above_it() -> None:
    assert "tasks" in allowed_rooms()["sessions"]
    assert "store" in allowed_rooms()["sessions"]
    assert {"testing", "cli"}.isdisjoint(allowed_rooms()["node"])
    assert "web" not in allowed_rooms()["weblab"]
    assert "weblab" not in allowed_rooms()["web"]


def test_the_documentation_shows_the_same_rows() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    (table,) = [block for block in blocks if block.lstrip().startswith("locale ")]
    assert rows(table) == rows(HOUSE)


def test_every_function_that_the_documentation_walks_through_is_there(labnode: House) -> None:
    pages = (ROOT / "docs").glob("architecture*.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    members = members_of(labnode)
    files = {source.path.removeprefix("labnode/"): source for source in labnode}
    missing = []
    for path in re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", text):
        if path not in files and not (ROOT / path).is_file():
            missing.append(path)
    steps = re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`\s+`([A-Za-z]\w*)(?:\.\w+)?`", text)
    for path, name in steps:
        if path in files and name not in defined_in(files[path]):
            missing.append(f"{path} {name}")
    for cls, name in re.findall(r"`([A-Z][a-z]\w+)\.(\w+)`", text):
        if name not in members.get(cls, set()):
            missing.append(f"{cls}.{name}")
    assert len(steps) > 20
    assert missing == []


def defined_in(source: Source) -> set[str]:
    """The classes and functions at the top of a module."""
    kinds = ast.ClassDef | ast.FunctionDef
    return {node.name for node in source.tree.body if isinstance(node, kinds)}


def members_of(house: House) -> dict[str, set[str]]:
    """The methods of every class, those of its bases in the house too."""
    classes = {
        node.name: node
        for source in house
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
    }

    def members(name: str) -> set[str]:
        if name not in classes:
            return set()
        own = {part.name for part in classes[name].body if isinstance(part, ast.FunctionDef)}
        return own.union(*(members(name_of(base)) for base in classes[name].bases))

    return {name: members(name) for name in classes}


# --- the rules can be broken, and then say where ---


def broken(rule: Rule, text: str, path: str = "drivers/led.py", **others: str) -> list[str]:
    """What `rule` says of labnode/PATH when `text` begins on its third line.

    The house has a few other modules, and `others`: web__app="..." is labnode/web/app.py.
    """
    files = {"web/__init__.py": "", "web/app.py": "", "errors.py": "", "drivers/base.py": ""}
    files |= {f"{name.replace('__', '/')}.py": text for name, text in others.items()}
    files[path] = text
    return list(rule([Source(f"labnode/{p}", f'"""One part."""\n\n{t}') for p, t in files.items()]))


@pytest.mark.parametrize(
    "text",
    [
        "from labnode.web.app import App",
        "from labnode.web import app",
        "from labnode import web",
        "import labnode.web.app",
        "from ..web import app",
        "from ..web.app import App",
        "from .. import web",
        "from labnode.errors import NotFound; from labnode import web as w",
        "importlib.import_module('labnode.web.app')",
        "__import__('labnode.web')",
        "def open():     from labnode.web import app",
        "async def open():  import labnode.web",
        "open = lambda: __import__('labnode.web')",
        "if TYPE_CHECKING: from labnode.web import app",
        "if typing.TYPE_CHECKING: from labnode.web import app",
        "class Led: import labnode.web",
        "try: import labnode.web\nexcept ImportError: pass",
    ],
)
def test_an_import_upwards_is_found_however_it_is_written(text: str) -> None:
    assert broken(rooms_import_only_what_stands_in_their_row, text) == [
        "labnode/drivers/led.py:3: drivers imports web; it may import: "
        "clock errors files locale schema supervisor threads"
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("from labnode.errors import NotFound", "drivers/led.py"),
        ("from labnode import errors", "drivers/led.py"),
        ("from .base import Driver", "drivers/led.py"),
        ("from . import base", "drivers/led.py"),
        ("from labnode.drivers.base import Driver", "drivers/led.py"),
        ("from labnode import __version__", "drivers/led.py"),
        ("from ..errors import NotFound", "web/__init__.py"),
        ("from .app import App", "web/__init__.py"),
        ("import os, yaml, errors", "drivers/led.py"),
        ("def run(): from labnode.web import app", "cli.py"),
        ("from labnode.errors import ConfigError", "cli.py"),
        ("def __getattr__(name): from labnode.lab import Lab", "__init__.py"),
        ("if TYPE_CHECKING: from labnode.lab import Lab", "__init__.py"),
    ],
)
def test_an_import_that_the_row_has_passes(text: str, path: str) -> None:
    assert broken(rooms_import_only_what_stands_in_their_row, text, path, lab="") == []


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("from labnode import web", "cli.py", "cli imports web outside of a function"),
        ("from labnode.lab import Lab", "__init__.py", "labnode imports lab outside of a function"),
        ("from labnode import Lab", "web/app.py", "takes Lab from the root package"),
        ("import labnode", "web/app.py", "takes all from the root package"),
        ("import labnode.cli", "node/agent.py", "node imports cli; it may import: "),
        ("import labnode.web", "weblab/api.py", "weblab imports web; it may import: "),
        ("import labnode.weblab", "web/app.py", "web imports weblab; it may import: "),
    ],
)
def test_the_upper_rooms_have_their_rules_too(text: str, path: str, problem: str) -> None:
    (found,) = broken(rooms_import_only_what_stands_in_their_row, text, path, lab="", weblab="")
    assert found.startswith(f"labnode/{path}:3: {problem}")


def test_a_module_without_a_row_is_no_room() -> None:
    assert broken(rooms_import_only_what_stands_in_their_row, "", "attic.py") == [
        "labnode/attic.py:1: 'attic' is not a room of the house; give it a row in HOUSE"
    ]


def test_a_circle_is_found_and_named_in_order() -> None:
    found = broken(
        modules_import_each_other_in_no_circle,
        "from labnode.drivers import relay",
        drivers__relay="from labnode.drivers.pins import Pin",
        drivers__pins="from .led import Led",
    )
    circle = ["led", "relay", "pins", "led"]
    assert len(found) == 1
    assert re.fullmatch(r"labnode/drivers/\w+\.py:3: a circle of imports: .*", found[0])
    assert {f"labnode.drivers.{name}" for name in circle} == set(
        found[0].split(": ")[2].split(" -> ")
    )


def test_an_import_inside_a_function_makes_no_circle() -> None:
    text = "def relay(): from labnode.drivers import relay"
    relay = "from labnode.drivers.led import Led"
    assert broken(modules_import_each_other_in_no_circle, text, drivers__relay=relay) == []


@pytest.mark.parametrize(
    ("rule", "text", "problem"),
    [
        (libraries_stay_in_their_homes, "import yaml", "drivers.led imports yaml, whose home"),
        (libraries_stay_in_their_homes, "from bottle import run", "drivers.led imports bottle"),
        (libraries_stay_in_their_homes, "import numpy.linalg", "numpy has no home"),
        (libraries_are_declared, "def f(): import numpy.linalg", "numpy is not declared"),
        (
            unsafe_modules_are_not_used,
            "from http.cookies import SimpleCookie",
            "http.cookies takes",
        ),
        (modules_are_short, "x = 1\n" * 500, "502 lines; 500 is the most"),
        (only_the_clock_reads_time, "import time; time.time()", "time.time reads"),
        (only_the_clock_reads_time, "import time; wait = time.sleep", "time.sleep reads"),
        (only_the_clock_reads_time, "import time as t; t.monotonic()", "t.monotonic reads"),
        (only_the_clock_reads_time, "from time import sleep; sleep(1)", "sleep reads"),
        (only_the_clock_reads_time, "from time import sleep as s; s(1)", "s reads"),
        (only_the_clock_reads_time, "import datetime; datetime.date.today()", "datetime.date"),
        (
            only_the_clock_reads_time,
            "from datetime import datetime; datetime.now()",
            "datetime.now",
        ),
        (text_is_never_run_as_code, "eval('1')", "eval() runs text as code"),
        (text_is_never_run_as_code, "exec('1')", "exec() runs text as code"),
        (text_is_never_run_as_code, "os.system('ls')", "os.system() runs text as code"),
        (text_is_never_run_as_code, "run('ls', shell=True)", "shell= runs text in a shell"),
        (text_is_never_run_as_code, "run('ls', shell=flag)", "shell= runs text in a shell"),
        (json_from_outside_is_parsed_within_limits, "json.loads(x)", "json.loads reads what"),
        (mistakes, "raise ValueError(f'{a} is no pin')", "' is no pin' is in English alone"),
        (mistakes, "problems.add(place, 'no such pin')", "'no such pin' is in English alone"),
        (mistakes, "def misfits(self): yield 'pin', 'no such pin'", "'no such pin' is in English"),
        (mistakes, "hint = 'use another pin' if a else ''", "'use another pin' is in English"),
        (threads_have_names, "threading.Thread(target=f).start()", "a thread without name="),
        (threads_have_names, "Thread(target=f)", "a thread without name="),
        (threads_have_names, "threading.Timer(1, f)", "a Timer, whose thread has no name"),
        (threads_have_names, "ThreadPoolExecutor(2)", "a pool without thread_name_prefix="),
        (threads_have_names, "class A(Thread): pass", "A does not name its thread"),
        (wires, "def f(a): a.then = lambda: 1", "a.then = lambda: 1 puts a function into"),
        (wires, "def f(a): a.b.then = partial(f, 1)", "a.b.then = partial(f, 1) puts a function"),
        (wires, "def f(a):\n  def g(): pass\n  a.then = g", "a.then = g puts a function into"),
        (
            wires,
            "class A:\n  def wake(self): pass\ndef f(a, b): b.then = a.wake",
            "b.then = a.wake puts a function into",
        ),
        (
            wires,
            "class A:\n  def wake(self): pass\n"
            "class B:\n  def __init__(self, a): self.wake = a.wake",
            "self.wake = a.wake is another object's method",
        ),
    ],
)
def test_a_broken_rule_is_found_and_placed(rule: Rule, text: str, problem: str) -> None:
    (found,) = broken(rule, text)
    assert re.match(r"labnode/drivers/led\.py:\d+: ", found)
    assert found.partition(": ")[2].startswith(problem)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (libraries_stay_in_their_homes, "import gpiozero, serial.tools, os.path"),
        (libraries_are_declared, "import gpiozero, serial.tools, lgpio, sqlite_utils, yaml, os"),
        (modules_are_short, "x = 1\n" * 498),
        (only_the_clock_reads_time, "import datetime; datetime.datetime.fromisoformat(x)"),
        (only_the_clock_reads_time, "clock.now(); self.time(); task.time.sleep; sleep(1)"),
        (text_is_never_run_as_code, "db.exec(x); lab.eval(x); run(['ls'], shell=False)"),
        (json_from_outside_is_parsed_within_limits, "parse(x); json.dumps(x)"),
        (mistakes, "raise ValueError(Message('driver.no-pin', name=a), f'{a}; {b}')"),
        (threads_have_names, "threading.Thread(target=f, name='reaper')"),
        (wires, "class A:\n  def __init__(self, f): self.f, self.g = f, lambda: 1"),
        (wires, "def f(a, b): a.name = b.name; a.when_changed = lambda: 1"),
        (wires, "class A:\n  @property\n  def n(self): pass\ndef f(a, b): b.n = a.n"),
        (threads_have_names, "ThreadPoolExecutor(2, thread_name_prefix='tool')"),
        (
            threads_have_names,
            "class A(Thread):\n  def __init__(self): super().__init__(name='a')",
        ),
    ],
)
def test_what_keeps_the_rule_passes(rule: Rule, text: str) -> None:
    assert broken(rule, text) == []


def test_two_classes_of_one_name_are_found() -> None:
    found = broken(a_class_has_a_name_of_its_own, "class Led: pass", web__led="class Led: pass")
    assert len(found) == 1
    assert found[0].endswith("has a class Led, too")


@pytest.mark.parametrize("path", ["utils.py", "web/helpers.py", "common/x.py", "drivers/_core.py"])
def test_a_name_that_says_nothing_is_found(path: str) -> None:
    (found,) = broken(names_say_what_is_inside, "", path)
    assert found.startswith(f"labnode/{path}:1: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no docstring"),
        ("x = 1", "there is no docstring"),
        ('"""Without an end"""', "the docstring has to open with one sentence"),
        ('"""One. Two."""', "the docstring has to open with one sentence"),
    ],
)
def test_a_module_that_does_not_open_with_one_sentence_is_found(text: str, problem: str) -> None:
    (found,) = modules_open_with_one_sentence([Source("labnode/x.py", text)])
    assert found.startswith(f"labnode/x.py:1: {problem}")


def test_more_may_follow_the_first_sentence_of_a_module() -> None:
    text = '"""One: `a.b`, e.g. this\nand that.\n\nTwo. Three."""'
    assert not list(modules_open_with_one_sentence([Source("labnode/x.py", text)]))
