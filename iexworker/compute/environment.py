"""The environment of the app container, by profile (docs/spec/06, section 7.1)."""

from __future__ import annotations

from iexworker.compute.names import input_file_name
from iexworker.poco.models import ZERO_ADDRESS, Profile, TaskDescription

IEXEC_IN = "/iexec_in"
IEXEC_OUT = "/iexec_out"


def app_environment(description: TaskDescription, profile: Profile) -> dict[str, str]:
    """Return the variables of a standard app, which are all it gets from the worker.

    Raises `BadInputName` for an input file that has no name; such a task does not get so far.
    """
    dataset = description.dataset_address if description.has_dataset else _no_dataset(profile)
    names = [input_file_name(uri, profile) for uri in description.params.input_files or ()]
    variables = {
        "IEXEC_TASK_ID": description.task_id,
        "IEXEC_IN": IEXEC_IN,
        "IEXEC_OUT": IEXEC_OUT,
        "IEXEC_DATASET_ADDRESS": dataset,
        "IEXEC_DATASET_FILENAME": dataset,
        "IEXEC_BOT_SIZE": str(description.bot_size),
        "IEXEC_BOT_FIRST_INDEX": str(description.bot_first_index),
        "IEXEC_BOT_TASK_INDEX": str(description.index),
        "IEXEC_INPUT_FILES_NUMBER": str(len(names)),
    }
    if names or profile is Profile.V8:
        variables["IEXEC_INPUT_FILES_FOLDER"] = IEXEC_IN
    for number, name in enumerate(names, start=1):
        variables[f"IEXEC_INPUT_FILE_NAME_{number}"] = name
    if profile is Profile.V9:
        variables["IEXEC_DEAL_ID"] = description.deal_id
        variables["IEXEC_TASK_INDEX"] = str(description.index)
    return variables


def _no_dataset(profile: Profile) -> str:
    return ZERO_ADDRESS if profile is Profile.V9 else ""
