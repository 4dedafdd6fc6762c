"""One event a line, facts beside it, no line forged, none mixed."""

from __future__ import annotations

import fcntl
import json
import logging
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from iexworker import logs

log = logging.getLogger("iexworker.test")


class Output:
    """The reading end of what is logged."""

    def __init__(self) -> None:
        self._reader, self.fd = os.pipe()
        os.set_blocking(self._reader, False)

    def text(self) -> str:
        try:
            return os.read(self._reader, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        os.close(self._reader)
        os.close(self.fd)


@pytest.fixture
def output() -> Iterator[Output]:
    root = logging.getLogger()
    level = root.level
    made = Output()
    yield made
    for handler in [item for item in root.handlers if isinstance(item, logs.LineHandler)]:
        root.removeHandler(handler)
        os.close(handler.lock_fd)
    root.setLevel(level)
    made.close()


def test_a_line_has_time_level_role_words_and_facts(output: Output) -> None:
    logs.setup("compute-0", fd=output.fd)
    log.info("image pulled", extra={"task": "0xab", "seconds": 1.23456789, "image": "a b"})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    compute-0  "
        r'image pulled task=0xab seconds=1\.23457 image="a b"\n',
        output.text(),
    )


def test_json_has_the_same_as_one_object(output: Output) -> None:
    logs.setup("http", as_json=True, fd=output.fd)
    log.warning(
        "odd", extra={"task": "0xab", "count": 2, "path": os.PathLike, "text_block": "a\nb"}
    )
    event: dict[str, Any] = json.loads(output.text())
    assert list(event)[:4] == ["time", "level", "role", "message"]
    assert (event["level"], event["role"], event["message"]) == ("WARNING", "http", "odd")
    assert (event["task"], event["count"], event["text_block"]) == ("0xab", 2, "a\nb")


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\x1b[2J", "a\u2028b", "a\x85b", "\x00", "tab\there"]
)
def test_no_text_from_outside_forges_a_line(output: Output, text: str) -> None:
    logs.setup("http", fd=output.fd)
    log.info("refused %s", text, extra={"why": text})
    (line,) = output.text().splitlines()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", '""'), ('say "x"', '"say \\"x\\""'), ("a=b", '"a=b"'), ("é", "é")],
)
def test_values_are_quoted_where_they_must(output: Output, value: object, shown: str) -> None:
    logs.setup("http", fd=output.fd)
    log.info("x", extra={"v": value})
    assert output.text().endswith(f" x v={shown}\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_fact_that_is_none_is_left_out(output: Output, as_json: bool) -> None:
    logs.setup("http", fd=output.fd, as_json=as_json)
    log.info("x", extra={"v": None, "w": 1})
    text = output.text()
    assert "v" not in json.loads(text) if as_json else text.endswith(" x w=1\n")


def test_an_event_carries_the_task_that_its_thread_is_about(output: Output) -> None:
    logs.setup("compute-0", fd=output.fd)
    with logs.about("0xab"):
        log.info("x", extra={"v": 1})
        log.info("x", extra={"task": "0xcd"})
        log.info("developer log", extra={"text_block": "####"})
    log.info("x")
    told = [line.partition("compute-0  ")[2] for line in output.text().splitlines()]
    assert told == ["x task=0xab v=1", "x task=0xcd", "developer log", "", "x"]


def test_a_traceback_follows_its_line_indented(output: Output) -> None:
    logs.setup("http", fd=output.fd)
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("process failed")
    first, *trace = output.text().splitlines()
    assert first.endswith("process failed")
    assert all(line.startswith("    ") for line in trace)
    assert trace[-1] == "    ValueError: boom"


def test_a_traceback_stays_on_the_line_in_json(output: Output) -> None:
    logs.setup("http", as_json=True, fd=output.fd)
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("process failed")
    assert "ValueError: boom" in json.loads(output.text())["traceback"]


def test_a_block_follows_as_it_is(output: Output) -> None:
    logs.setup("compute-0", fd=output.fd)
    log.info("developer log", extra={"task": "0xab", "text_block": "####\n├── a\n"})
    assert output.text().endswith("developer log task=0xab\n####\n├── a\n\n")


@pytest.mark.parametrize(
    ("name", "number"),
    [("debug", 10), ("TRACE", 10), ("warn", 30), ("OFF", 60), ("FATAL", 50), ("nonsense", 20)],
)
def test_levels_have_javas_names_too(name: str, number: int) -> None:
    assert logs.level_number(name) == number


def test_below_the_level_nothing_is_written_nor_counted(output: Output) -> None:
    counted: list[int] = []
    logs.setup("http", "WARNING", fd=output.fd, count=counted.append)
    log.info("no")
    log.error("yes")
    assert counted == [logging.ERROR]
    assert output.text().count("\n") == 1


def test_libraries_are_held_to_warnings(output: Output) -> None:
    logs.setup("http", "DEBUG", fd=output.fd)
    logging.getLogger("urllib3.connectionpool").debug("no")
    log.debug("yes")
    assert output.text().endswith("yes\n")
    assert "no\n" not in output.text()


def test_a_second_setup_replaces_the_first(output: Output) -> None:
    logs.setup("supervisor", fd=output.fd)
    logs.setup("http", fd=output.fd)
    log.info("once")
    assert re.findall(r"(\w+) +once", output.text()) == ["http"]


def test_an_output_that_is_gone_is_no_error(output: Output) -> None:
    reader, writer = os.pipe()
    logs.setup("http", fd=writer)
    os.close(reader)
    log.info("into the void")
    os.close(writer)


def test_an_event_that_cannot_be_formatted_ends_nobody(
    output: Output, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.setup("http", fd=output.fd)
    (handler,) = [
        item for item in logging.getLogger().handlers if isinstance(item, logs.LineHandler)
    ]
    alone = logging.Logger("alone")  # pytest's own handlers would raise
    alone.addHandler(handler)
    alone.info("%d", "no number")
    alone.info("next")
    assert output.text().endswith("next\n")
    assert "TypeError" in capfd.readouterr().err


def test_long_events_of_many_processes_do_not_mix(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LOCK_PATIENCE_S", 60.0)  # what a busy machine may take
    logs.setup("supervisor", as_json=True, fd=output.fd)
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write_much, args=(letter,)) for letter in "abcd"]
    for writer in writers:
        writer.start()
    text = ""
    while any(writer.is_alive() for writer in writers):
        text += output.text()
    text += output.text()
    events = [json.loads(line) for line in text.splitlines()]
    assert len(events) == 4 * 50
    assert all(len(set(event["letters"])) == 1 for event in events)


def _write_much(letter: str) -> None:
    for _ in range(50):
        log.info("much", extra={"letters": letter * 20_000})


def test_a_stopped_process_that_holds_the_lock_is_not_waited_for(output: Output) -> None:
    logs.setup("supervisor", fd=output.fd)
    (handler,) = [
        item for item in logging.getLogger().handlers if isinstance(item, logs.LineHandler)
    ]
    reader, writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        fcntl.lockf(handler.lock_fd, fcntl.LOCK_EX)
        os.write(writer, b"x")
        signal.pause()
    os.read(reader, 1)
    os.kill(holder, signal.SIGSTOP)
    log.info("not held up")
    assert output.text().endswith("not held up\n")
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    os.close(reader)
    os.close(writer)
