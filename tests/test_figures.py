"""The figures that tests measure: from the tests to the table."""

from __future__ import annotations

import pytest

from tests.kit.figures import BEGIN, END, Figure, written_into

_DOCUMENT = f"""Above.

{BEGIN}

| what | promised | measured |
| --- | --- | --- |
| kills | none lost | 0 of 10 |
| power cuts | none lost | 0 of 20 |

{END}
Below.
"""


def test_a_figure_replaces_its_row_and_the_others_stay() -> None:
    text = written_into(_DOCUMENT, [Figure("kills", "none lost", "0 of 1,000")])
    assert text == _DOCUMENT.replace("0 of 10 ", "0 of 1,000 ")


def test_a_new_figure_gets_a_row_in_its_order() -> None:
    text = written_into(_DOCUMENT, [Figure("mutants", "90 % killed", "95 %")])
    assert "| kills | none lost | 0 of 10 |\n| mutants | 90 % killed | 95 % |\n| power" in text


def test_a_document_without_the_lines_is_told() -> None:
    with pytest.raises(ValueError, match="has no lines"):
        written_into("nothing", [])


def test_a_cell_has_one_line_and_no_bar() -> None:
    with pytest.raises(ValueError, match="one line"):
        Figure("kills", "none | lost", "0")
