"""What is wrong with a text that is no YAML, in words for people who do not know YAML."""

from __future__ import annotations

import re

import yaml

# Patterns of the parser's "context: problem", and whether the line is where that context began.
_SENTENCES: list[tuple[str, bool, str]] = [
    (r"character '\\t'", False, "a tab character; YAML is indented with spaces"),
    (
        "mapping values are not allowed",
        False,
        "a ': ' does not belong here; put the text in quotes, or look for a ':' missing on the "
        "line above or another indentation there",
    ),
    (
        "scanning an? (alias|anchor)",
        False,
        "a value that begins with '*', '&' or '!' has to be in quotes",
    ),
    ("scanning a quoted scalar", True, "a quote is not closed"),
    (
        "scanning a double-quoted scalar",
        False,
        "an escape that YAML does not know; use single quotes to have backslashes as they are",
    ),
    (
        "expected ':'",
        True,
        "a ':' is missing after the key, or the line is indented differently from those above",
    ),
    (r"but found '[\]}]'|found ','", False, "a '}', a ']' or a ',' that belongs to nothing"),
    ("found ':'", False, "a key is missing before the ':'"),
    ("keys are not allowed", False, "a value that begins with '?' has to be in quotes"),
    (
        "parsing a flow node",
        False,
        "between '[' or '{' and its end a value is missing, or has to be in quotes",
    ),
    ("parsing a flow mapping", True, "a '{' is not closed, or a ',' is missing after a value"),
    ("parsing a flow sequence", True, "a '[' is not closed, or a ',' is missing after a value"),
    (
        "parsing a block .*found '<(scalar|tag|anchor|alias)>'",
        False,
        "something stands after a value that has ended; put the whole value in quotes, or look at "
        "the indentation",
    ),
    ("parsing a block", False, "the line is indented differently from those above"),
    ("entries are not allowed", False, "a '- ' does not belong here; it has to begin a line"),
    (
        "scanning a block scalar",
        False,
        "after '|' or '>' the text begins on the next line; put it in quotes if it is a text",
    ),
    (
        "(scanning|parsing) a (tag|directive)|undefined tag handle",
        False,
        "a value that begins with '!' or '%' has to be in quotes",
    ),
    (
        "expected '<document start>'",
        False,
        "the document has ended before this line; look at the indentation and for a line '...'",
    ),
]
_NO_TOKEN = re.compile(r"found character '(.+)' that cannot start any token")


def explain(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """The line (from 1) and one sentence."""
    told = f"{error.context or ''}: {error.problem or ''}"
    no_token = _NO_TOKEN.search(told)
    if no_token:
        found = (False, f"a value that begins with {no_token[1]} has to be in quotes")
    else:
        found = (False, f"this is not valid YAML ({told.strip(': ')})")
    matching = (
        (opened, sentence) for pattern, opened, sentence in _SENTENCES if re.search(pattern, told)
    )
    opened, sentence = next(matching, found)
    mark = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
    return (mark.line + 1 if mark else 1), sentence
