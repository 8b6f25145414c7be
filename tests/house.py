"""The house as its own files show it, and its figures.

python -m tests.house
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent

# What the figures may be at most.
MOST = {
    "modules": 324,
    "rooms": 34,
    "floors": 10,
    "circles of modules": 0,
    "rooms in drivers/": 12,
}


@dataclass(frozen=True)
class Source:
    """One file in labnode/."""

    path: str  # "labnode/web/app.py"
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def module(self) -> str:
        """ "labnode.web.app"; "labnode.web" for labnode/web/__init__.py."""
        parts = PurePosixPath(self.path).with_suffix("").parts
        return ".".join(parts[:-1] if self.is_package else parts)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    def at(self, node: ast.AST, message: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {message}"


@dataclass(frozen=True)
class Import:
    """One name that a file imports; `when` is "loading", "called" or "typing"."""

    node: ast.AST
    module: str  # "labnode.web.app", "yaml.nodes"
    name: str | None  # what is taken out of the module; None for the module itself
    when: str


House = Sequence[Source]


def imports(source: Source, house: House) -> Iterator[Import]:
    """Every import in `source`, those inside functions and under TYPE_CHECKING too."""
    modules = {other.module for other in house}

    def walk(node: ast.AST, when: str) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node, alias.name, None, when)
        elif isinstance(node, ast.ImportFrom):
            base = origin(source, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                is_module = inner in modules
                name = None if is_module else alias.name
                yield Import(node, inner if is_module else base, name, when)
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            yield Import(node, name, None, when)
        for part in ast.iter_child_nodes(node):
            yield from walk(part, moment(node, part, when))

    yield from walk(source.tree, "loading")


def origin(source: Source, node: ast.ImportFrom) -> str:
    """The module after `from`, dots resolved."""
    if not node.level:
        return node.module or ""
    package = source.module if source.is_package else source.module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def imported_by_call(node: ast.Call) -> str | None:
    """The name in import_module("name") and __import__("name")."""
    function = node.func.attr if isinstance(node.func, ast.Attribute) else name_of(node.func)
    if function in ("import_module", "__import__") and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value
    return None


def moment(node: ast.AST, part: ast.AST, when: str) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return "called"
    if isinstance(node, ast.If) and part in node.body and is_type_checking(node.test):
        return "typing"
    return when


def is_type_checking(test: ast.expr) -> bool:
    return name_of(test).rpartition(".")[2] == "TYPE_CHECKING"


def name_of(node: ast.AST) -> str:
    """ "threading.Thread" for such an expression, "" for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = name_of(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def is_ours(module: str) -> bool:
    return module == "labnode" or module.startswith("labnode.")


def read_house() -> House:
    """Every file in labnode/, as it is on the disk."""
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "labnode").rglob("*.py"))
    ]


def figures(house: House) -> dict[str, int]:
    """How large the house is and how its rooms stand; MOST says how much it may be."""
    rooms = arrows(house, room_of)
    return {
        "modules": len(house),
        "rooms": len(rooms),
        "floors": max(floors(rooms).values()),
        "arrows between rooms": sum(map(len, rooms.values())),
        "circles of modules": len(circles(arrows(house, lambda module: module))),
        "rooms in drivers/": len({part for part in map(_driver_room, house) if part}),
        "lines": sum(len(source.text.splitlines()) for source in house),
    }


def _driver_room(source: Source) -> str:
    """The folder or file directly in drivers/ that a file belongs to."""
    before, _, room = source.module.partition("labnode.drivers.")
    return "" if before else room.split(".")[0]


def arrows(house: House, part_of: Callable[[str], str]) -> dict[str, set[str]]:
    """Who imports whom, as rooms or as modules; imports for types and in functions count, too."""
    modules = {source.module for source in house}
    found: dict[str, set[str]] = {part_of(source.module): set() for source in house}
    for source in house:
        for used in imports(source, house):
            if used.module in modules and used.name != "__version__":
                found[part_of(source.module)].add(part_of(used.module))
    return {part: others - {part} for part, others in found.items()}


def floors(uses: dict[str, set[str]]) -> dict[str, int]:
    """A room stands one floor above the highest one that it imports."""
    found: dict[str, int] = {}

    def floor(room: str, above: tuple[str, ...] = ()) -> int:
        assert room not in above, f"a circle of rooms: {(*above, room)}"
        if room not in found:
            found[room] = 1 + max((floor(r, (*above, room)) for r in uses[room]), default=0)
        return found[room]

    return {room: floor(room) for room in uses}


def circles(uses: dict[str, set[str]]) -> list[list[str]]:
    """Each group of modules that import one another, directly or by others."""

    reachable = {module: _reach(module, uses) for module in uses}
    groups = {
        tuple(sorted(other for other in reached if module in reachable[other]))
        for module, reached in reachable.items()
        if module in reached
    }
    return [list(group) for group in sorted(groups)]


def _reach(module: str, uses: dict[str, set[str]]) -> set[str]:
    """All that `module` imports, directly or by others."""
    reached: set[str] = set()
    left = list(uses[module])
    while left:
        following = left.pop()
        if following not in reached:
            reached.add(following)
            left += uses[following]
    return reached


if __name__ == "__main__":
    for name, number in figures(read_house()).items():
        most = f"at most {MOST[name]}" if name in MOST else ""
        print(f"{name:<22}{number:>7}  {most}".rstrip())
