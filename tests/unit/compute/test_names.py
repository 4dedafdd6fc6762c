from __future__ import annotations

import re

import pytest

from iexworker.compute.names import BadInputName, container_name, input_file_name
from iexworker.poco.models import Profile


def test_containers_are_named_by_worker_task_and_stage() -> None:
    assert container_name("worker", "0x01") == "worker-0x01"
    assert container_name("worker", "0x01", "pre") == "worker-0x01-tee-pre-compute"
    assert container_name("worker", "0x01", "post") == "worker-0x01-tee-post-compute"


@pytest.mark.parametrize("worker", ["my worker", "é", "_x", "-", "a/b:c"])
def test_a_container_name_is_one_that_the_engine_takes(worker: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", container_name(worker, "0x01"))


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("http://h/a/b.txt", "b.txt"),
        ("http://h/a/b.txt?x=1&y", "b.txt?x=1&y"),
        ("http://h/a/", "a"),
        ("http://h", "h"),
        ("plain", "plain"),
    ],
)
def test_profile_8_names_an_input_by_the_last_component(uri: str, name: str) -> None:
    assert input_file_name(uri, Profile.V8) == name


@pytest.mark.parametrize("uri", [None, "", "/", "http://h/..", "a/.", "a/b\0", "h/" + "x" * 256])
def test_profile_8_refuses_a_location_without_a_name(uri: str | None) -> None:
    with pytest.raises(BadInputName):
        input_file_name(uri, Profile.V8)


def test_profile_9_names_any_location_by_its_hash() -> None:
    assert input_file_name("", Profile.V9) == (
        "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    with pytest.raises(BadInputName):
        input_file_name(None, Profile.V9)
