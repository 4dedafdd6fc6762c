from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox.network import tools


def test_the_tools_are_those_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tools.ENVIRONMENT, raising=False)

    assert tools.folder() == Path(__file__).parents[2] / ".cache"


def test_a_variable_names_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(tools.ENVIRONMENT, str(tmp_path))
    (tmp_path / "anvil-1.7.1").mkdir()
    (tmp_path / "anvil-1.7.1" / "anvil").touch()

    assert tools.anvil() == tmp_path / "anvil-1.7.1" / "anvil"


def test_what_is_missing_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(tools.ENVIRONMENT, str(tmp_path))

    with pytest.raises(SandboxError, match=r"poco-5.5.0 is missing: run scripts/setup"):
        tools.contracts_folder("8")
    with pytest.raises(SandboxError, match="run scripts/setup, or install the package such"):
        tools.program("no-such-program", "such")
