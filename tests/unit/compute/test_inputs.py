from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.compute.blame import Blame, Patience, Trouble
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.download import Download
from iexworker.compute.folders import TaskFolder
from iexworker.compute.inputs import Inputs, InputsFailed
from iexworker.poco.models import DealParams, Profile, TaskDescription
from tests.helpers.task_descriptions import TASK, description
from tests.unit.helpers.file_server import FileServer, Handler, Waits, file_server

BODY = b"a dataset"
CHECKSUM = "0x" + hashlib.sha256(BODY).hexdigest()
DATASET = "0x" + "0d" * 20
CID = "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ"


class World:
    """A task folder, a server, and a clock that pauses drive."""

    def __init__(self, folder: TaskFolder, server: FileServer, cancellation: Cancellation) -> None:
        self.folder = folder
        self.server = server
        self.waits = Waits()
        self.scheduler_answers = True
        self.deadline_s = self.waits.now_s + 3600
        self._cancellation = cancellation

    def fetch(
        self,
        task: TaskDescription,
        profile: Profile = Profile.V9,
        gateways: tuple[str, ...] = (),
    ) -> None:
        download = Download(time.time() + 60, self._cancellation, True, free_bytes=0)
        patience = Patience(
            self.deadline_s,
            3600.0,
            self.waits.pause,
            lambda: self.scheduler_answers,
            now=self.waits.now,
            elapsed=self.waits.now,
        )
        Inputs(self.folder, download, patience, gateways).fetch(task, profile)

    def failure(
        self, task: TaskDescription, profile: Profile = Profile.V9, gateways: tuple[str, ...] = ()
    ) -> str:
        with pytest.raises(InputsFailed) as caught:
            self.fetch(task, profile, gateways)
        return caught.value.cause

    def inputs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.input.iterdir()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    cancellation = Cancellation()
    with file_server() as server:
        yield World(TaskFolder(tmp_path / TASK), server, cancellation)
    cancellation.close()


def with_dataset(uri: str, checksum: str = CHECKSUM) -> TaskDescription:
    return description(
        dataset_address=DATASET,
        dataset_uri=uri,
        dataset_checksum=checksum,
        params=DealParams(),
    )


def with_files(*uris: str | None) -> TaskDescription:
    return description(params=DealParams(input_files=uris))


def test_a_task_without_inputs_gets_an_empty_folder(world: World) -> None:
    world.fetch(description(params=DealParams(input_files=None)))
    assert world.inputs() == {}
    assert world.folder.input.stat().st_mode & 0o777 == 0o755


def test_a_dataset_is_named_by_its_address(world: World) -> None:
    world.fetch(with_dataset(world.server.serve("/d", BODY)))
    assert world.inputs() == {DATASET: BODY}


def test_what_was_in_the_input_folder_is_gone(world: World) -> None:
    world.folder.input.mkdir(parents=True)
    (world.folder.input / "old").write_text("tampered")
    world.folder.input_used.touch()
    world.fetch(with_files())
    assert world.inputs() == {}
    assert not world.folder.input_used.exists()


def test_a_wrong_checksum_is_looked_at_twice_then_the_requesters_fault(world: World) -> None:
    cause = world.failure(with_dataset(world.server.serve("/d", b"other")))
    assert cause == "DATASET_FILE_BAD_CHECKSUM"
    assert world.server.paths() == ["/d", "/d"]
    assert world.inputs() == {}


def test_a_checksum_that_is_right_the_second_time_is_right(world: World) -> None:
    bodies = iter((b"cut", BODY))
    world.server.replies["/d"] = lambda handler: handler.answer(200, next(bodies))
    world.fetch(with_dataset(world.server.url + "/d"))
    assert world.inputs() == {DATASET: BODY}


def test_a_checksum_is_compared_as_text(world: World) -> None:
    task = with_dataset(world.server.serve("/d", BODY), CHECKSUM.upper())
    assert world.failure(task) == "DATASET_FILE_BAD_CHECKSUM"


def test_a_missing_dataset_is_the_requesters_fault_at_once(world: World) -> None:
    assert world.failure(with_dataset(world.server.url + "/x")) == "DATASET_FILE_DOWNLOAD_FAILED"
    assert world.waits.pauses == []


def test_a_server_that_recovers_is_tried_until_it_does(world: World) -> None:
    statuses = iter((503, 502, 200))
    world.server.replies["/d"] = lambda handler: handler.answer(next(statuses), BODY)
    world.fetch(with_dataset(world.server.url + "/d"))
    assert world.inputs() == {DATASET: BODY}
    assert world.waits.pauses == [1.0, 2.0]


def test_a_server_down_for_two_minutes_is_the_requesters_fault(world: World) -> None:
    url = world.server.serve("/d", b"", 500)
    assert world.failure(with_dataset(url)) == "DATASET_FILE_DOWNLOAD_FAILED"
    assert 120 <= sum(world.waits.pauses) <= 150


def test_without_the_schedulers_answers_a_server_down_stays_our_trouble(world: World) -> None:
    world.scheduler_answers = False
    url = world.server.serve("/d", b"", 500)
    with pytest.raises(Trouble) as caught:
        world.fetch(with_dataset(url))
    assert caught.value.blame is Blame.OURS
    assert sum(world.waits.pauses) > 3500


def test_a_rate_limit_is_never_the_requesters_fault(world: World) -> None:
    with pytest.raises(Trouble) as caught:
        world.fetch(with_dataset(world.server.serve("/d", b"", 429)))
    assert caught.value.blame is Blame.OURS


def test_the_first_gateway_that_has_it_is_taken(world: World) -> None:
    world.server.serve("/b" + CID, BODY)
    gateways = tuple(world.server.url + path for path in ("/a", "/b", "/c"))
    world.fetch(with_dataset(CID), gateways=gateways)
    assert world.inputs() == {DATASET: BODY}
    assert world.server.paths() == ["/a" + CID, "/b" + CID]


def test_a_content_that_no_gateway_has_is_the_requesters_fault(world: World) -> None:
    gateways = (world.server.url, world.server.url + "/b")
    assert world.failure(with_dataset(CID), gateways=gateways) == "DATASET_FILE_DOWNLOAD_FAILED"


def test_one_gateway_that_limits_us_makes_it_our_trouble(world: World) -> None:
    world.server.serve("/b" + CID, b"", 429)
    with pytest.raises(Trouble) as caught:
        world.fetch(with_dataset(CID), gateways=(world.server.url, world.server.url + "/b"))
    assert caught.value.blame is Blame.OURS


def test_no_gateway_at_all_is_our_trouble(world: World) -> None:
    with pytest.raises(Trouble, match="no IPFS gateway"):
        world.fetch(with_dataset(CID))


def test_profile_9_names_input_files_by_the_hash_of_their_location(world: World) -> None:
    one, two = world.server.serve("/a/x.txt", b"1"), world.server.serve("/b/x.txt", b"2")
    world.fetch(with_files(one, two))
    assert world.inputs() == {
        "0x" + hashlib.sha256(one.encode()).hexdigest(): b"1",
        "0x" + hashlib.sha256(two.encode()).hexdigest(): b"2",
    }


def test_profile_8_names_input_files_by_the_last_component(world: World) -> None:
    one, two = world.server.serve("/a/x.txt?q=1", b"1"), world.server.serve("/b/y", b"2")
    world.fetch(with_files(one, two), Profile.V8)
    assert world.inputs() == {"x.txt?q=1": b"1", "y": b"2"}


def test_two_files_of_one_name_leave_the_later_one(world: World) -> None:
    one, two = world.server.serve("/a/x", b"1"), world.server.serve("/b/x", b"2")
    world.fetch(with_files(one, two), Profile.V8)
    assert world.inputs() == {"x": b"2"}


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("uri", [None, "", "no scheme", CID])
def test_a_location_that_java_cannot_open_is_the_requesters_fault(
    world: World, uri: str | None, profile: Profile
) -> None:
    assert world.failure(with_files(uri), profile) == "INPUT_FILES_DOWNLOAD_FAILED"


def test_after_a_failed_input_file_the_rest_is_not_tried(world: World) -> None:
    later = world.server.serve("/later", b"")
    cause = world.failure(with_files(world.server.url + "/absent", later))
    assert cause == "INPUT_FILES_DOWNLOAD_FAILED"
    assert world.server.paths() == ["/absent"]


def test_the_dataset_comes_before_the_input_files(world: World) -> None:
    task = description(
        dataset_address=DATASET,
        dataset_uri=world.server.url + "/absent",
        dataset_checksum=CHECKSUM,
        params=DealParams(input_files=(world.server.serve("/f", b""),)),
    )
    assert world.failure(task) == "DATASET_FILE_DOWNLOAD_FAILED"
    assert world.server.paths() == ["/absent"]


def test_the_whole_network_gone_for_a_while_does_not_blame_the_requester(world: World) -> None:
    """Two minutes count only while the scheduler hears us."""
    answers = iter([True] * 3 + [False] * 5 + [True] * 100)

    def reply(handler: Handler) -> None:
        world.scheduler_answers = next(answers)
        handler.answer(500)

    world.server.replies["/d"] = reply
    assert world.failure(with_dataset(world.server.url + "/d")) == "DATASET_FILE_DOWNLOAD_FAILED"
    assert sum(world.waits.pauses) > 150
