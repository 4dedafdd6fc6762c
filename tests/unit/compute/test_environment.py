from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from iexworker.compute.environment import app_environment
from iexworker.poco.models import ZERO_ADDRESS, DealParams, Profile
from tests.helpers.task_descriptions import TASK, description

WIRE = Path(__file__).parents[2] / "wire"
URL = "https://example.org/data/file.txt"
URL_SHA256 = "0xe02ac2382506531da3516ec22f95ae4db6bcef0ea206e8460c842ffc35664a3d"
OF_THE_IMAGE = {"HOME", "HOSTNAME", "PATH", "PWD", "SHLVL"}


def test_profile_9_without_inputs_has_these_variables_and_no_other() -> None:
    task = description(params=DealParams(), bot_size=3, bot_first_index=4, index=5)
    assert app_environment(task, Profile.V9) == {
        "IEXEC_TASK_ID": TASK,
        "IEXEC_DEAL_ID": task.deal_id,
        "IEXEC_TASK_INDEX": "5",
        "IEXEC_IN": "/iexec_in",
        "IEXEC_OUT": "/iexec_out",
        "IEXEC_DATASET_ADDRESS": ZERO_ADDRESS,
        "IEXEC_DATASET_FILENAME": ZERO_ADDRESS,
        "IEXEC_BOT_SIZE": "3",
        "IEXEC_BOT_FIRST_INDEX": "4",
        "IEXEC_BOT_TASK_INDEX": "5",
        "IEXEC_INPUT_FILES_NUMBER": "0",
    }


def test_profile_8_names_the_input_folder_always_and_the_deal_never() -> None:
    variables = app_environment(description(params=DealParams(input_files=None)), Profile.V8)
    assert variables["IEXEC_INPUT_FILES_FOLDER"] == "/iexec_in"
    assert variables["IEXEC_DATASET_ADDRESS"] == variables["IEXEC_DATASET_FILENAME"] == ""
    assert "IEXEC_DEAL_ID" not in variables and "IEXEC_TASK_INDEX" not in variables


def test_a_dataset_is_named_by_its_address() -> None:
    dataset = "0x" + "0d" * 20
    task = description(
        dataset_address=dataset,
        dataset_uri="http://h/d",
        dataset_checksum="0x01",
        params=DealParams(),
    )
    for profile in Profile:
        variables = app_environment(task, profile)
        assert variables["IEXEC_DATASET_ADDRESS"] == dataset
        assert variables["IEXEC_DATASET_FILENAME"] == dataset


@pytest.mark.parametrize(
    ("profile", "names"), [(Profile.V9, URL_SHA256), (Profile.V8, "file.txt")], ids=str
)
def test_input_files_are_numbered_in_the_order_of_the_list(profile: Profile, names: str) -> None:
    task = description(params=DealParams(input_files=(URL, "http://h/b?x=1")))
    variables = app_environment(task, profile)
    assert variables["IEXEC_INPUT_FILES_NUMBER"] == "2"
    assert variables["IEXEC_INPUT_FILES_FOLDER"] == "/iexec_in"
    assert variables["IEXEC_INPUT_FILE_NAME_1"] == names
    assert "IEXEC_INPUT_FILE_NAME_2" in variables


def recorded(name: str) -> dict[str, str]:
    """Return the environment that the recorded app printed."""
    text = (WIRE / name).read_text()
    stdout = re.search(r'"stdout": "(.*?[^\\])"', text)
    assert stdout is not None
    lines = json.loads(f'"{stdout[1]}"').splitlines()
    pairs = (line.partition("=") for line in lines if re.match(r"[A-Z_0-9]+=", line))
    return {key: value for key, _, value in pairs if key not in OF_THE_IMAGE}


@pytest.mark.parametrize(
    ("recording", "profile"),
    [("9.2-standard.json", Profile.V9), ("8.5-standard.json", Profile.V8)],
    ids=str,
)
def test_the_variables_are_those_that_a_recorded_app_printed(
    recording: str, profile: Profile
) -> None:
    seen = recorded(recording)
    task = description(
        task_id=seen["IEXEC_TASK_ID"],
        deal_id=seen.get("IEXEC_DEAL_ID", ""),
        bot_size=int(seen["IEXEC_BOT_SIZE"]),
        params=DealParams(),
    )
    assert app_environment(task, profile) == seen
