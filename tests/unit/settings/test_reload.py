from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from iexworker.errors import SettingsError
from iexworker.settings.model import Loaded, Settings, load
from iexworker.settings.reload import FIXED, compare, read_again


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    environ = {"IEXEC_WORKER_BASE_DIR": str(tmp_path), "IEXEC_WORKER_WALLET_PATH": "/w.json"}
    return replace(load(environ, config_dirs=[]).settings, wallet_password="")


def test_a_changed_setting_is_taken_and_one_for_a_restart_is_not(settings: Settings) -> None:
    change = compare(settings, replace(settings, gas_price_cap_wei=7, port=1))
    assert change.taken == ("gas_price_cap_wei",)
    assert change.refused == ("port",)
    assert (change.settings.gas_price_cap_wei, change.settings.port) == (7, settings.port)


def test_fixed_names_are_settings(settings: Settings) -> None:
    assert all(hasattr(settings, name) for name in FIXED)


def test_settings_with_problems_are_not_taken(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> Loaded:
        raise SettingsError(["IEXEC_GAS_PRICE_CAP: x", "another"])

    with caplog.at_level(logging.ERROR):
        change = read_again(settings, (), read)
    assert change.settings == settings
    assert change.problems == ("IEXEC_GAS_PRICE_CAP: x", "another")
    assert [record.__dict__["reason"] for record in caplog.records] == [
        "IEXEC_GAS_PRICE_CAP: x",
        "another",
    ]


def test_what_waits_for_a_restart_is_said(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        other = replace(settings, name="other", wallet_password="secret")
        change = read_again(settings, (), lambda: Loaded(other, {}, ()))
    assert [record.__dict__.get("setting") for record in caplog.records] == [
        None,
        "name",
        "wallet_password",
    ]
    assert "secret" not in str(change.lines())


def test_a_warning_is_told_once(settings: Settings) -> None:
    loaded = Loaded(settings, {}, ("old", "new"), notes=("of the file",))
    assert read_again(settings, {"old"}, lambda: loaded).notes == ("of the file", "new")
