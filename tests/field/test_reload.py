"""SIGHUP and `iexworker reload`: what the operator has edited is read, taken, or told to wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.helpers.running_tree import RunningTree, Start, running_trees


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with running_trees(tmp_path) as begin:
        yield begin


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "worker.env"


@pytest.fixture
def tree(start: Start, env_file: Path) -> RunningTree:
    """Start as systemd does: the file's variables are in the environment, and it is named."""
    text = "IEXEC_GAS_PRICE_CAP=7\nIEXEC_LOG_LEVEL=INFO\nIEXEC_WORKER_METRICS_WINDOW_SIZE=9\n"
    env_file.write_text(text)
    named = dict(line.split("=", 1) for line in text.splitlines())
    return start("--env-file", str(env_file), **named)


def test_a_changed_variable_of_the_env_file_is_taken(tree: RunningTree, env_file: Path) -> None:
    before = {item["role"]: item["pid"] for item in tree.report()["processes"]}
    env_file.write_text("IEXEC_GAS_PRICE_CAP=8\nIEXEC_WORKER_METRICS_WINDOW_SIZE=9\n")
    done = tree.say("reload")
    assert done.returncode == 0
    assert "taken: gas_price_cap_wei" in done.stdout
    tree.until(
        lambda report: all(
            item["pid"] not in (0, before[item["role"]]) and item["ready"]
            for item in report["processes"]
            if item["role"] != "supervisor"
        )
    )
    assert tree.lines("settings read again", "gas_price_cap_wei")


def test_a_signal_does_the_same_and_the_log_says_it(tree: RunningTree, env_file: Path) -> None:
    env_file.write_text("IEXEC_GAS_PRICE_CAP=8\nIEXEC_WORKER_METRICS_WINDOW_SIZE=10\n")
    tree.signal(signal.SIGHUP)
    tree.until_logged("settings read again", "gas_price_cap_wei")
    tree.until_logged("setting waits for a restart", "window_size")


def test_a_variable_taken_out_of_the_file_is_unset_though_the_environment_still_has_it(
    tree: RunningTree, env_file: Path
) -> None:
    env_file.write_text("")
    told = tree.say("reload").stdout
    assert "gas_price_cap_wei" in told
    # Its default is another than the 9 of the start.
    assert "waits for a restart: window_size" in told


def test_a_variable_new_in_the_file_waits_for_a_restart(tree: RunningTree, env_file: Path) -> None:
    env_file.write_text(env_file.read_text() + "IEXEC_GAS_PRICE_MULTIPLIER=2\n")
    told = tree.say("reload").stdout
    assert "taken: nothing" in told
    assert "IEXEC_GAS_PRICE_MULTIPLIER" in told
    assert "new in" in told
    assert "restart" in told


def test_a_variable_of_others_waits_for_a_restart(start: Start, env_file: Path) -> None:
    env_file.write_text("HTTP_PROXY=http://me:hunter3@a:1\n")
    tree = start("--env-file", str(env_file))
    env_file.write_text("HTTP_PROXY=http://me:hunter4@b:1\n")
    told = tree.say("reload").stdout
    assert "HTTP_PROXY" in told
    assert "restart" in told
    assert "hunter" not in told + tree.log()


def test_a_settings_file_and_a_password_file_are_read_again(start: Start, tmp_path: Path) -> None:
    settings, password = tmp_path / "settings" / "settings.toml", tmp_path / "password"
    settings.parent.mkdir()
    settings.write_text("[default]\ngas_price_cap = 7\n")
    password.write_text("hunter2")
    tree = start(
        IEXEC_WORKER_WALLET_PASSWORD="",
        IEXEC_WORKER_WALLET_PASSWORD_FILE=str(password),
    )
    settings.write_text("[default]\ngas_price_cap = 8\nport = 13199\n")
    password.write_text("hunter3")
    told = tree.say("reload").stdout
    assert "taken: gas_price_cap_wei" in told
    assert "wallet_password" in told.split("waits for a restart")[1]
    assert "hunter" not in told + tree.log()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("IEXEC_GAS_PRICE_CAP=x\n", "IEXEC_GAS_PRICE_CAP"),
        ("export IEXEC_GAS_PRICE_CAP=8\n", "export"),
        (None, "No such file"),
    ],
)
def test_a_file_with_problems_changes_nothing_and_is_told(
    tree: RunningTree, env_file: Path, text: str | None, words: str
) -> None:
    if text is None:
        env_file.unlink()
    else:
        env_file.write_text(text)
    done = tree.say("reload")
    assert done.returncode == 78
    assert words in done.stderr
    assert "nothing is changed" in done.stderr
    assert tree.lines("ERROR", "settings not taken", words)


def test_a_warning_of_what_was_read_is_told_too(tree: RunningTree, env_file: Path) -> None:
    env_file.write_text(env_file.read_text() + "IEXEC_CORE_URI=x\n")
    done = tree.say("reload")
    assert "did you mean IEXEC_CORE_URL" in done.stdout + done.stderr
    env_file.write_text("IEXEC_GAS_PRICE_CAP=7\nIEXEC_WORKER_METRICS_WINDOW_SIZE=9\n")


def test_without_an_env_file_it_says_that_variables_stay_as_they_are(start: Start) -> None:
    told = start().say("reload").stdout
    assert "no env file" in told
    assert "--env-file" in told


def test_the_parent_takes_the_level_of_the_log_and_the_grace(
    tree: RunningTree, env_file: Path
) -> None:
    env_file.write_text(env_file.read_text().replace("LEVEL=INFO", "LEVEL=ERROR"))
    assert "taken: log_level" in tree.say("reload").stdout
    tree.say("pause")
    assert not tree.lines("INFO", "demand paused")


def test_a_busy_slot_takes_the_settings_when_its_task_is_over(start: Start, env_file: Path) -> None:
    env_file.write_text("IEXEC_GAS_PRICE_CAP=7\n")
    tree = start("--env-file", str(env_file), compute="busy_until_told")
    before = tree.until(lambda report: report["processes"][-1]["state"] == "busy")
    env_file.write_text("IEXEC_GAS_PRICE_CAP=8\n")
    told = tree.say("reload").stdout
    assert "compute-0" in told
    assert "when its task is over" in told
    pid = before["processes"][-1]["pid"]
    assert tree.report()["processes"][-1]["pid"] == pid
    (tree.root / "told").touch()
    tree.until(lambda report: report["processes"][-1]["pid"] not in (0, pid))


def test_a_stopping_worker_reads_nothing(start: Start) -> None:
    tree = start(scheduling="with_tasks", IEXWORKER_SHUTDOWN_GRACE="6s")
    tree.signal(signal.SIGTERM)
    tree.until(lambda report: bool(report["facts"]["stopping"]))
    assert "stopping" in tree.say("reload").stderr
