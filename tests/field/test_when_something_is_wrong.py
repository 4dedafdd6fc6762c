"""The guide's table "When something is wrong": each row is made, and quotes what was seen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pytest

from tests.field.helpers import situations
from tests.field.helpers.place import Seen

pytestmark = [pytest.mark.xdist_group("situations"), pytest.mark.timeout(180)]

GUIDE = situations.GUIDE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def seen(unmeasured: None) -> Mapping[str, Seen | Exception]:
    return situations.make_all()


@pytest.mark.parametrize("name", situations.SITUATIONS)
def test_the_guide_quotes_what_an_operator_sees(
    name: str, seen: Mapping[str, Seen | Exception]
) -> None:
    found = seen[name]
    if isinstance(found, Exception):
        if "unshare" in str(found) and not os.environ.get("CI"):
            pytest.skip(f"cannot be made here: {found}")
        raise found
    assert situations.row(name, found) in situations.written(GUIDE), (
        "python -m tests.field.helpers.situations writes the table"
    )


def test_the_guide_has_these_rows_in_this_order_and_no_other() -> None:
    lines = situations.written(GUIDE).splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(
        situations.SITUATIONS
    )


def test_no_row_quotes_a_library() -> None:
    words = ("Traceback", "Error(", "ConnectionError", "object at 0x", "NoneType", "errno")
    lines = situations.written(GUIDE).splitlines()[2:]
    rough = {line.split(" | ")[0].removeprefix("| ") for line in lines if _has(line, words)}
    assert lines
    assert rough == set()


def _has(line: str, words: Sequence[str]) -> bool:
    return any(word in line for word in words)
