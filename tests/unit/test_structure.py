from __future__ import annotations

from pathlib import Path

import pytest

from tests import structure
from tests.structure import Import


def _import(source: str, target: str) -> Import:
    return Import(structure.ROOT / "iexworker" / "x.py", 7, source, target)


def test_the_folders_import_only_what_the_table_allows() -> None:
    found = structure.imports()

    assert len(found) > 500
    assert structure.broken(found) == []


def test_no_folder_and_no_module_is_in_a_circle() -> None:
    found = structure.imports()

    assert structure.floors(found)[0] == ["floor 0", "healthcheck"]
    assert structure.module_circles(found) == []


def test_a_public_class_name_stands_once_in_the_worker() -> None:
    assert structure.repeated_classes() == {}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("poco.hashing", "chain.rpc"),
        ("task.lifecycle", "core.client"),
        ("recovery.recovery", "compute.engine"),
        ("scheduling.service", "sandbox.stack"),
        ("retry", "poco.models"),
        ("a_new_folder.module", "poco.models"),
    ],
)
def test_an_import_that_the_table_lacks_is_named_with_file_and_line(
    source: str, target: str
) -> None:
    (line,) = structure.broken([_import(source, target)])

    assert line.startswith(f"{Path('iexworker/x.py')}:7: {source} imports {target}")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("task.journal", "outbox.ledger"),
        ("results.proxy", "core.transport"),
        ("procs.scheduling", "scheduling.service"),
        ("poco.models", "errors"),
        ("poco.models", "poco.hashing"),
    ],
)
def test_an_import_that_the_table_has_is_fine(source: str, target: str) -> None:
    assert structure.broken([_import(source, target)]) == []


def test_a_circle_of_modules_is_found() -> None:
    circle = [_import("poco.abi", "poco.models"), _import("poco.models", "poco.abi")]

    assert {"poco.abi", "poco.models"} <= set(structure.module_circles(circle))
