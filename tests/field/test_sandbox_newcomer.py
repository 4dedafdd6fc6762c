"""Whatever a newcomer types, `iexworker sandbox` answers with a line or two that help."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.sandbox import stack
from iexworker.sandbox.network import processes
from iexworker.sandbox.network.network import Network
from iexworker.sandbox.network.processes import Records
from tests.field.helpers.small_sandbox import Said, typed

ANY_PORTS = [text for name in stack.DEFAULT_PORTS for text in (f"--{name}-port", "0")]
TASK = "0x" + "ab" * 32


def refused(said: Said, code: int, *words: str) -> None:
    """Expect a short answer with these words and nothing on standard output."""
    assert (said.code, said.out) == (code, "")
    assert said.err.splitlines()[-1].startswith("iexworker")
    assert len(said.err.splitlines()) <= 2, said.err
    assert [word for word in words if word not in said.err] == [], said.err


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox"
    if (tmp_path / "sandbox").exists():
        stack.down(tmp_path / "sandbox", delete=True)


@pytest.fixture
def standing(folder: Path) -> Iterator[Path]:
    """A folder whose network looks up: its components sleep."""
    made = Network(str(folder), "9", "127.0.0.1", 1, 2, 3, 4, 5)
    folder.mkdir()
    made.save()
    made.deployed_path.write_text("{}")
    records = Records(folder / "children.json")
    for name in stack.COMPONENTS:
        records.add(processes.start(name, ["sleep", "60"], folder / "logs" / f"{name}.log"))
    started = records.all()
    yield folder
    for child in started:
        child.stop()
    (folder / "children.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("up --profile 7", "--profile"),
        ("up --chain-port abc", "--chain-port: abc is no port: 0 to 65535"),
        ("up --proxy-port 99999", "--proxy-port: 99999 is no port: 0 to 65535"),
        ("up --config-port=-1", "--config-port: -1 is no port"),
        ("up --chain-port 5555 --proxy-port 5555", "--chain-port and --proxy-port are both 5555"),
        *(
            (f"up --block-time={text}", "--block-time: .* is not from 0.1 to 15 seconds")
            for text in ("0", "-1", "nan", "inf", "16", "soon")
        ),
        *(
            (f"up --ask-period={text}", "--ask-period: .* is not from 0.1 to 3600 seconds")
            for text in ("0", "-3", "nan", "1e99")
        ),
        ("up --timer sleepiness=3", "--timer: there is no sleepiness; worker_lost, "),
        ("up --timer worker_lost", "--timer: worker_lost: NAME=SECONDS is needed"),
        *(
            (f"up --timer {name}={text}", f"--timer: {name}={text}: .* is not from")
            for name, text in (("poll", "0"), ("worker_lost", "-1"), ("final_check", "nan"))
        ),
        ("up --category XXS", "--category: XXS: NAME=SECONDS is needed"),
        ("up --category =5", "--category: =5: NAME=SECONDS is needed"),
        *(
            (f"up --category X={text}", "is not from 1 to 31536000 whole seconds")
            for text in ("0", "-1", "0.4", "nan", "1e30")
        ),
        ("up --listen localhost", "--listen: localhost is no IPv4 address"),
        ("up --listen ::1", "--listen: ::1 is no IPv4 address"),
        ("up --listen 0.0.0.0", "--listen: 0.0.0.0: give the address that workers shall call"),
        *((f"deal --volume {n}", "--volume: .* is not from 1 to 10000") for n in ("0", "x", "1e3")),
        ("deal --volume=-1", "--volume: -1 is not from 1 to 10000"),
        ("deal --volume 100000", "--volume: 100000 is not from 1 to 10000"),
        ("deal --trust=-1", "--trust: -1 is not from 1"),
        ("deal --trust 0", "--trust: 0 is not from 1"),
        ("deal --category=-1", "--category: -1 is not from 0"),
        ("deal --tag xyz", "--tag: xyz is no tag: up to 64 hexadecimal digits"),
        ("deal --tag 0x" + "1" * 65, "is no tag"),
        ("deal --callback foo", "--callback: foo is no address: 0x and 40 hexadecimal digits"),
        ("deal --callback 0x12", "--callback: 0x12 is no address"),
        (
            "deal --callback 0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "--callback: .* its capitals are a checksum, which is wrong",
        ),
        ("deal --dataset-checksum zz", "--dataset-checksum: zz is no SHA-256"),
        ("deal --dataset-checksum abcd", "--dataset-checksum: abcd is no SHA-256"),
        *(
            (f"deal --price={text}", "--price: .* is not from 0 to")
            for text in ("nan", "inf", "-1", "1e40", "free")
        ),
        ("deal --image", "--image"),
        ("deal --args -v", "a value that begins with - is joined to its option: --args=-v"),
        ("logs nothing", "nothing"),
        *((f"logs -n={n}", "-n/--lines: .* is not from 1") for n in ("0", "-3", "x")),
        ("result", "task"),
        ("result zz", "zz is no beginning of a task's id: 0x and hexadecimal digits"),
        ("result 0x", "0x is no beginning of a task's id"),
        ("tasks extra", "extra"),
        ("up --bogus", "--bogus"),
        ("foo", "foo"),
    ],
)
def test_wrong_arguments_are_refused_with_what_would_be_right(
    arguments: str, words: str, folder: Path
) -> None:
    verb, *more = arguments.split()
    where = ["--dir", str(folder)] if verb != "foo" else []

    refused(typed("sandbox", verb, *where, *more), 2, *words.split(".*"))

    assert not folder.exists()


@pytest.mark.parametrize("text", ["", " ", "two words", "new\nline"])
def test_an_image_without_a_name_is_refused(text: str) -> None:
    refused(typed("sandbox", "deal", "--image", text), 2, "--image: ", "is no name of an image")


@pytest.mark.parametrize("option", ["--args", "--params", "--image", "--dataset"])
def test_a_text_that_is_no_utf_8_is_refused(option: str) -> None:
    refused(typed("sandbox", "deal", option, "x\udcff"), 2, f"{option}: ", "is no UTF-8")


@pytest.mark.parametrize("option", ["--params", "--dataset", "--tag", "--callback"])
def test_an_empty_text_is_not_taken_for_none(option: str) -> None:
    refused(typed("sandbox", "deal", option, ""), 2, f"{option}: ")


@pytest.mark.parametrize("verb", ["deal", "tasks", f"result {TASK}", "logs"])
def test_without_a_network_each_verb_says_where_it_looked_and_what_to_run(
    verb: str, folder: Path
) -> None:
    command = f"`iexworker sandbox up --dir {folder}`"

    refused(typed("sandbox", *verb.split(), "--dir", folder), 69, str(folder), command)


def test_down_twice_says_that_nothing_was_up(folder: Path) -> None:
    for _ in range(2):
        said = typed("sandbox", "down", "--dir", folder)
        assert (said.code, said.out) == (0, f"no network was up in {folder}\n")


@pytest.mark.parametrize("verb", ["up", "down", "logs", "tasks"])
def test_a_file_is_no_folder(verb: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refused(typed("sandbox", verb, "--dir", tmp_path / "file"), 69, "is a file, not a folder")


@pytest.mark.parametrize("place", ["/proc/sandbox", "file/sandbox"])
def test_a_folder_that_cannot_be_made_is_told_with_its_path(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / place

    refused(typed("sandbox", "up", *ANY_PORTS, "--dir", path), 69, str(path), "--dir")


def test_an_address_that_is_not_this_machines_is_refused(folder: Path) -> None:
    said = typed("sandbox", "up", *ANY_PORTS, "--dir", folder, "--listen", "192.0.2.1")

    refused(said, 69, "--listen 192.0.2.1 is no address of this machine")


def test_a_second_network_on_ports_of_the_first_is_refused_before_anything_starts(
    folder: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = str(first.getsockname()[1])
        said = typed("sandbox", "up", *ANY_PORTS, "--dir", folder, "--registry-port", port)

    refused(said, 69, f"127.0.0.1:{port} is taken", "--registry-port")
    assert not (folder / "network.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--category X=5", "a category"),
        ("--block-time 5", "block time"),
        ("--ask-period 9", "ask period"),
        ("--timer poll=3", "timer"),
    ],
)
def test_what_a_network_that_is_up_cannot_take_over_is_not_passed_over(
    standing: Path, arguments: str, words: str
) -> None:
    said = typed("sandbox", "up", "--dir", standing, *arguments.split())

    refused(said, 69, words, str(standing), "sandbox down")


def test_a_component_that_has_ended_is_named_with_what_to_do(standing: Path) -> None:
    stack.components(standing)[0].stop()

    for verb in ("tasks", "deal", f"result {TASK}"):
        said = typed("sandbox", *verb.split(), "--dir", standing)
        refused(
            said,
            69,
            f"the anvil of the network in {standing} has ended",
            f"`iexworker sandbox logs anvil --dir {standing}`",
            f"`iexworker sandbox up --dir {standing}`",
        )


@pytest.mark.parametrize("name", ["network.json", "deployed.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"profile": 1}'])
def test_a_file_of_the_network_that_is_damaged_is_named(
    standing: Path, name: str, content: str
) -> None:
    (standing / name).write_text(content)

    for verb in ("tasks", "deal --image x"):
        said = typed("sandbox", *verb.split(), "--dir", standing)
        refused(said, 69, f"{standing}/{name} is damaged", "sandbox up --fresh")
    assert typed("sandbox", "down", "--dir", standing).code == 0
    assert typed("sandbox", "down", "--delete", "--dir", standing).code == 0
    assert not standing.exists()


def test_a_damaged_list_of_processes_is_named(standing: Path) -> None:
    (standing / "children.json").write_text("{")

    for verb in ("tasks", "up", "down"):
        refused(typed("sandbox", verb, "--dir", standing), 69, "children.json is damaged", "delete")


def test_a_folder_of_another_version_is_told_as_such(standing: Path) -> None:
    content = json.loads((standing / "network.json").read_text())
    content["timers"]["of_the_future_s"] = 1
    (standing / "network.json").write_text(json.dumps(content))

    refused(typed("sandbox", "tasks", "--dir", standing), 69, "network.json", "another version")


def test_a_scheduler_database_that_is_damaged_ends_the_server_in_words(tmp_path: Path) -> None:
    Network(str(tmp_path), "9", "127.0.0.1", 1, 2, 3, 4, 5).save()
    (tmp_path / "scheduler.sqlite").write_bytes(b"no database" * 500)
    (tmp_path / "deployed.json").write_text("{}")
    command = [sys.executable, "-P", "-m", "iexworker.sandbox.server", "--dir", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 69
    assert "Traceback" not in done.stdout + done.stderr
    assert "is damaged" in done.stdout + done.stderr


def test_another_command_in_the_same_folder_is_waited_for_and_said(standing: Path) -> None:
    command = [sys.executable, "-m", "iexworker", "sandbox", "down", "--dir", str(standing)]
    with stack._locked(standing), subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        first: list[bytes] = []
        reading = threading.Thread(
            target=lambda read: first.append(read()), args=[waiting.stdout.readline]
        )
        reading.start()
        reading.join(20)
        assert first == [f"waiting for another command in {standing}\n".encode()]
        waiting.kill()
