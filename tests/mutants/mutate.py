"""All small faults that can be put into a Python file, one at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_CALCULATED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
_NOT_WORTH_IT = ("log.", "_log.", "logging.", "audit.", "warnings.")  # what only people read


@dataclass(frozen=True)
class Mutant:
    """One fault: `before` in a function of a file became `after`."""

    file: str
    line: int
    where: str
    """The function, such as "Output.put"; "" at the top of the file."""
    before: str
    after: str
    source: str
    """The whole file with the fault."""

    @property
    def name(self) -> str:
        """What stays the same when lines elsewhere in the file change."""
        return f"{self.file} {self.where}: {self.before} -> {self.after}"


def mutants(file: str, source: str) -> list[Mutant]:
    """Every mutant of this file, in the order of its lines."""
    found: dict[str, Mutant] = {}
    tree = ast.parse(source)
    for where, node in _walk(tree, ""):
        if where.endswith("__init__") and isinstance(node, ast.Assign):
            continue  # without them nothing works at all: that would flatter the tests
        for changed in _changed(node):
            before, after = ast.unparse(node), _one_line(changed)
            new = _spliced(source, node, after)
            mutant = Mutant(file, node.lineno, where, _one_line(node), after, new)
            if before != after:
                found.setdefault(mutant.name, mutant)
    return list(found.values())


def _walk(node: ast.AST, where: str) -> Iterator[tuple[str, ast.expr | ast.stmt]]:
    """Every statement and expression that runs, with the function that it is in."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _only_for_people(child):
                continue
            inside = where
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inside = f"{where}.{child.name}".lstrip(".")
            elif isinstance(child, ast.expr | ast.stmt):
                yield where, child
            yield from _walk(child, inside)


def _only_for_people(node: ast.AST) -> bool:
    """Logs, messages, docstrings, and what only type checkers read."""
    if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Raise):
        return not isinstance(node, ast.Raise)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith(_NOT_WORTH_IT)


def _changed(node: ast.expr | ast.stmt) -> Iterator[ast.expr | ast.stmt]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARED:
            yield _with(node, ops=[_COMPARED[type(op)]()])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.And() if isinstance(op, ast.Or) else ast.Or())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(op=op, right=right) if type(op) in _CALCULATED and not _is_text(right):
            yield _with(node, op=_CALCULATED[type(op)]())
        case ast.Constant(value=bool() as value):
            yield _with(node, value=not value)
        case ast.Constant(value=int() | float() as value):
            yield _with(node, value=value + 1)
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield _with(node, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Break() | ast.Continue():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign():
            yield ast.Pass()


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _with(node: ast.AST, **fields: object) -> ast.expr | ast.stmt:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    assert isinstance(new, ast.expr | ast.stmt)
    return new


def _one_line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _spliced(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    """The file with `text` in place of `node`; columns of `ast` count bytes."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = source.encode().splitlines(keepends=True)
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    # Lines below keep their numbers; an expression goes into parentheses, whatever is around it.
    kept = "\n" * (node.end_lineno - node.lineno)
    new = f"({text}{kept})" if isinstance(node, ast.expr) else f"{text}{kept}"
    return (before + new.encode() + after).decode()
