"""stdout.txt and stderr.txt are what `docker logs` gives, since that is what Java workers hash."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iexworker.compute import output
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.container import ContainerRunner, RunStatus
from iexworker.compute.die_events import DieEvents
from iexworker.compute.engine import ContainerSpec, Engine
from iexworker.compute.folders import TaskFolder
from iexworker.compute.streams import Capture
from iexworker.poco.hashing import hex_text, keccak
from iexworker.results import digest
from tests.helpers.docker_harness import (
    ADDRESS,
    DockerHarness,
    eventually,
    make_settings,
    new_wallet,
    remove_containers,
)
from tests.vectors.helpers.loader import raw_cases

pytest_plugins = ["tests.helpers.docker_harness"]

CASES = [pytest.param(case, id=case["name"]) for case in raw_cases("field-app-output")]


def written(case: dict[str, Any]) -> bytes:
    return b"".join(bytes.fromhex(piece) * count for piece, count in case["input"])


def facts(text: bytes, raw: bytes) -> dict[str, object]:
    mark = "\ufffd".encode()
    return {
        "bytes": len(text),
        "replaced": text.count(mark) - raw.count(mark),
        "sha256": hashlib.sha256(text).hexdigest(),
    }


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


def cut(data: bytes, most: int) -> Iterator[bytes]:
    """Cut somewhere, the same each time."""
    chance = random.Random(most)
    while data:
        size = chance.randint(1, most)
        yield data[:size]
        data = data[size:]


def keep(folder: TaskFolder) -> dict[str, bytes]:
    """Have the output of an app that succeeded put into its result."""
    output.keep_streams(folder)
    return {path.name: path.read_bytes() for path in folder.iexec_out.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> TaskFolder:
    made = TaskFolder(tmp_path / "task")
    made.prepare_run()
    return made


@pytest.mark.parametrize("most", [7000, 70_000])
@pytest.mark.parametrize("case", CASES)
def test_what_comes_from_an_attached_connection_becomes_the_text_of_docker_logs(
    folder: TaskFolder, case: dict[str, Any], most: int
) -> None:
    raw = written(case)
    sent = b"".join(frame(1, piece) + frame(2, piece) for piece in cut(raw, most))
    with Capture(folder.stream("stdout"), folder.stream("stderr")) as capture:
        for piece in cut(sent, most + 13):
            capture.feed(piece)
    kept = keep(folder)
    assert facts(kept["stdout.txt"], raw) == case["expected"]
    assert kept["stderr.txt"] == kept["stdout.txt"]


def test_the_digest_of_the_whole_output_is_the_java_workers(folder: TaskFolder) -> None:
    """SHA-256 of `docker logs` of both, computed.json before them."""
    computed = b'{"deterministic-output-path":"/iexec_out"}'
    (folder.iexec_out / "computed.json").write_bytes(computed)
    raw = b"price 5 \xe2\x82\nend\n"
    with Capture(folder.stream("stdout"), folder.stream("stderr")) as capture:
        capture.feed(frame(1, raw))
    output.keep_streams(folder)
    logs = "price 5 \ufffd\ufffd\nend\n".encode()
    expected = hashlib.sha256(computed).digest() + hashlib.sha256(logs).digest()
    assert digest.of_path(folder.output, "/iexec_out") == hex_text(keccak(expected))


class Slot:
    """What runs one app's container on a real engine."""

    def __init__(self, image: str, folder: Path) -> None:
        self.harness = DockerHarness(make_settings(folder), new_wallet(), image)
        self.engine = Engine(ADDRESS)
        self.folder = TaskFolder(folder / "task")
        self.folder.prepare_run()
        self._cancellation = Cancellation()
        self._deaths = DieEvents(ADDRESS, self.harness.wallet)
        self._runner = ContainerRunner(self.engine, self._deaths)

    def spec(self, raw: bytes, **options: Any) -> ContainerSpec:
        """Return a container that prints `raw` to both of its streams, with a pause within."""
        (self.folder.root / "raw").write_bytes(raw)
        script = "head -c 20000 /raw; touch /iexec_out/begun; sleep 0.2; cat /half; cat /raw >&2"
        (self.folder.root / "half").write_bytes(raw[20_000:])
        return dataclasses.replace(
            self.harness.spec(script),
            binds=(
                f"{self.folder.root / 'raw'}:/raw",
                f"{self.folder.root / 'half'}:/half",
                f"{self.folder.iexec_out}:/iexec_out",
            ),
            host_options=options,
        )

    def run(self, spec: ContainerSpec) -> None:
        with Capture(self.folder.stream("stdout"), self.folder.stream("stderr")) as capture:
            run = self._runner.run(spec, 30.0, capture, self._cancellation)
        assert run.status is RunStatus.SUCCESS

    def killed_in_the_middle(self, spec: ContainerSpec) -> None:
        """Do as a slot that dies while the app runs, and as the one that takes it up."""
        with Capture(self.folder.stream("stdout"), self.folder.stream("stderr")) as capture:
            capture.feed(frame(1, b"what the first one had seen"))
            self.engine.start(self.engine.create(spec))
        eventually((self.folder.iexec_out / "begun").exists, "the app runs")
        found = self._runner.adoptable(spec)
        assert found is not None
        with Capture(self.folder.stream("stdout"), self.folder.stream("stderr")) as capture:
            run = self._runner.adopt(found, 30.0, capture, self._cancellation)
        assert run.status is RunStatus.SUCCESS

    def close(self) -> None:
        remove_containers(self.engine, self.harness.wallet)
        self._deaths.close()
        self.engine.close()
        self._cancellation.close()
        gc.collect()


@pytest.fixture
def slot(engine: Engine, image: str, tmp_path: Path) -> Iterator[Slot]:
    made = Slot(image, tmp_path)
    yield made
    made.close()


LONG_LINES = next(
    case for case in raw_cases("field-app-output") if case["name"].startswith("long lines")
)


@pytest.mark.docker
@pytest.mark.parametrize("driver", ["json-file", "local"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_slot_that_was_killed_in_the_middle_gives_the_same_text_as_one_that_was_not(
    slot: Slot, killed: bool, driver: str
) -> None:
    raw = written(LONG_LINES)
    spec = slot.spec(raw, log_config={"Type": driver, "Config": {}})
    if killed:
        slot.killed_in_the_middle(spec)
    else:
        slot.run(spec)
    kept = keep(slot.folder)
    assert facts(kept["stdout.txt"], raw) == LONG_LINES["expected"]
    assert kept["stderr.txt"] == kept["stdout.txt"]
