from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iexworker.compute import arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ()),
        ("", ()),
        ("   ", ()),
        ("a", ("a",)),
        ("a  b", ("a", "b")),
        ("a 'b c' \"d e\"", ("a", "b c", "d e")),
        ('x"y z"w', ("xy zw",)),
        (r"it\'s ok", (r"it\'s", "ok")),
        ('"a\'b"', ("a'b",)),
        ("'a\"b'", ('a"b',)),
        ("''", ()),
        ('"" a', ("a",)),
        (r"\\" + '"', (r"\\" + '"',)),
        (r"\ 'a", ("\\", "'a")),
        (r"a\b", (r"a\b",)),
        ("a\tb\nc", ("a\tb\nc",)),
        (r"'a\' b'", (r"a\' b",)),
        (r"""'a\" b'""", (r"""a\" b""",)),
        ('{"key": "value with space"}', ("{key:", "value with space}")),
    ],
)
def test_a_command_line_is_split_as_upstream_splits_it(
    text: str | None, expected: tuple[str, ...]
) -> None:
    assert arguments.split(text) == expected


@pytest.mark.parametrize("text", ["'a", 'a "b', "a 'b\" c", r"'a\'"])
def test_unbalanced_quotes_give_no_argument_at_all(text: str) -> None:
    assert arguments.split(text) == ()


@given(st.lists(st.text(st.characters(exclude_characters=" \"'\\"), min_size=1)))
def test_plain_words_come_back_as_they_were(words: list[str]) -> None:
    assert arguments.split(" ".join(words)) == tuple(words)


@given(st.text(alphabet="ab \"'\\"))
def test_no_argument_is_ever_empty(text: str) -> None:
    assert all(arguments.split(text))
