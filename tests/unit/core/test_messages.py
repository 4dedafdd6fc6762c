from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iexworker.core.chainconfig import chain_configuration
from iexworker.core.messages import (
    AbortCause,
    Details,
    Grant,
    Notification,
    NotificationType,
    PublicConfiguration,
    ReplicateStatus,
    update_body,
)
from iexworker.core.sockjs import Messages, decode_line
from iexworker.core.stomp import decode
from iexworker.json_fields import MalformedMessage
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import ZERO_ADDRESS, ChainReceipt, Profile

WIRE = Path(__file__).parents[2] / "wire"
TASK = "0x65bc5e94ed4486a940bd6cc0013c418efad58a0a52a3d08cee89faaa21970426"
WALLET = "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc"
AUTHORIZATION = {
    "chainTaskId": TASK,
    "workerWallet": WALLET.upper().replace("0X", "0x"),
    "enclaveChallenge": ZERO_ADDRESS,
    "signature": {"value": "0xAB"},
    "taskIndex": 3,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *("chainTaskId", "workersAddress", "taskNotificationType", "taskNotificationExtra"),
        *("taskAbortCause", "workerpoolAuthorization", "smsUrl", "blockNumber", "signature"),
        *("workerWallet", "enclaveChallenge", "configServerUrl", "askForReplicatePeriod"),
        *("blockchainAdapterUrl", "requiredWorkerVersion", "chainId", "blockTime", "value"),
        *("iexecHubContractAddress", "chainNodeUrl", "sidechain"),
    ]
)


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(WIRE.glob("*.json")):
        for event in json.loads(path.read_text())["events"]:
            yield path.name, event


@settings(deadline=None)  # the machine is shared with other tests
@given(st.one_of(JSON, st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON), max_size=8)))
def test_any_json_is_a_message_or_malformed(data: object) -> None:
    for parse in (
        Notification.from_json,
        Grant.from_json,
        WorkerpoolAuthorization.from_json,
        PublicConfiguration.from_json,
        chain_configuration,
    ):
        with contextlib.suppress(MalformedMessage):
            parse(data)


def test_every_recorded_update_is_rebuilt_from_its_values() -> None:
    count = 0
    for name, event in recorded():
        if not event.get("request", "").endswith("/updateStatus"):
            continue
        if "-return-" in name:
            continue  # these updates were not sent by a Java worker
        body = event["body"]
        assert update_body(ReplicateStatus[body["status"]], details_of(body)) == body, name
        count += 1
    assert count > 100


def details_of(body: dict[str, Any]) -> Details | None:
    details = body["details"]
    if details is None:
        return None
    receipt, logs = details["chainReceipt"], details["computeLogs"]
    return Details(
        receipt=ChainReceipt(receipt["blockNumber"], receipt["txHash"]) if receipt else None,
        result_link=details["resultLink"],
        callback_data=details["chainCallbackData"],
        cause=details["cause"],
        stdout=(logs or {}).get("stdout"),
        stderr=(logs or {}).get("stderr"),
        with_logs=logs is not None,
        exit_code=details["exitCode"],
    )


def test_every_recorded_notification_is_read() -> None:
    kinds = set()
    for _, event in recorded():
        line = decode_line(event["sockjs"]) if event.get("sockjs", "").startswith("a") else None
        for text in line.texts if isinstance(line, Messages) else ():
            frame = decode(text)
            if frame.command == "MESSAGE":
                data = json.loads(frame.body)
                notification = Notification.from_json(data)
                assert notification.task_id == data["chainTaskId"]
                assert notification.recipients == tuple(data["workersAddress"])
                kinds.add(notification.type.value)
    assert kinds == {"PLEASE_REVEAL", "PLEASE_UPLOAD", "PLEASE_COMPLETE", "PLEASE_ABORT"}


def test_the_success_flag_is_that_of_the_documented_list() -> None:
    failing = {status for status in ReplicateStatus if not status.success}
    assert len(ReplicateStatus) == 33
    assert {status.value for status in failing} == {
        *("START_FAILED", "APP_DOWNLOAD_FAILED", "DATA_DOWNLOAD_FAILED", "COMPUTE_FAILED"),
        *("CONTRIBUTE_FAILED", "REVEAL_FAILED", "CONTRIBUTE_AND_FINALIZE_FAILED"),
        *("RESULT_UPLOAD_REQUESTED", "RESULT_UPLOADING", "RESULT_UPLOADED"),
        *("RESULT_UPLOAD_FAILED", "COMPLETE_FAILED", "FAILED", "ABORTED"),
        *("RECOVERING", "WORKER_LOST"),
    }


def test_logs_without_text_are_an_empty_object() -> None:
    with_logs = Details(with_logs=True, stdout="", stderr=None).to_json()
    assert with_logs["computeLogs"] == {}
    assert Details().to_json()["computeLogs"] is None
    assert list(with_logs) == [
        *("chainReceipt", "resultLink", "chainCallbackData", "errorMessage", "cause"),
        *("computeLogs", "exitCode", "teeSessionGenerationError"),
    ]


@pytest.mark.parametrize(
    ("version", "profile"),
    [
        ("8.5.0", Profile.V8),
        ("7", Profile.V8),
        ("9.2.1-NEXT-SNAPSHOT", Profile.V9),
        (" 10.0\n", Profile.V9),
        ("", None),
        ("v9.2", None),
        ("-9.1", None),
        ("٩.1", None),
        ("9" * 5000, None),
    ],
)
def test_the_profile_follows_the_number_before_the_first_dot(
    version: str, profile: Profile | None
) -> None:
    assert Profile.from_version(version) is profile


def test_an_authorization_keeps_what_it_does_not_know() -> None:
    authorization = WorkerpoolAuthorization.from_json(AUTHORIZATION)
    assert authorization.worker_wallet == WALLET
    assert authorization.signature == "0xab"
    assert authorization.raw == AUTHORIZATION
    assert WorkerpoolAuthorization.from_json(
        AUTHORIZATION | {"enclaveChallenge": None}
    ).enclave_challenge == ZERO_ADDRESS  # fmt: skip


def test_a_notification_carries_its_extra() -> None:
    notification = Notification.from_json(
        {
            "chainTaskId": TASK,
            "workersAddress": [WALLET.upper()],
            "taskNotificationType": "PLEASE_ABORT",
            "taskNotificationExtra": {
                "workerpoolAuthorization": AUTHORIZATION,
                "smsUrl": "http://sms",
                "blockNumber": "12",
                "taskAbortCause": "CONSENSUS_REACHED",
            },
            "taskAbortCause": "UNKNOWN",
        }
    )
    assert notification.type is NotificationType.PLEASE_ABORT
    assert notification.block_number == 12
    assert notification.abort_cause is AbortCause.CONSENSUS_REACHED
    assert notification.sms_url == "http://sms"
    assert notification.authorization == WorkerpoolAuthorization.from_json(AUTHORIZATION)


@pytest.mark.parametrize(
    ("recipients", "concerned"),
    [(None, False), ([], True), ([WALLET.upper()], True), (["0x01"], False)],
)
def test_a_notification_concerns_those_it_names(
    recipients: list[str] | None, concerned: bool
) -> None:
    data = {
        "chainTaskId": TASK,
        "workersAddress": recipients,
        "taskNotificationType": "PLEASE_WAIT",
        "taskNotificationExtra": {"taskAbortCause": "NEWER"},
    }
    notification = Notification.from_json(data)
    assert notification.concerns(WALLET) is concerned
    assert notification.abort_cause is AbortCause.UNKNOWN


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"taskNotificationType": None}, "taskNotificationType"),
        ({"taskNotificationType": "PLEASE_DANCE"}, "unknown 'PLEASE_DANCE'"),
        ({"chainTaskId": 7}, "chainTaskId"),
        ({"workersAddress": "0x01"}, "workersAddress"),
        ({"workersAddress": [7]}, "workersAddress"),
        ({"taskNotificationExtra": []}, "taskNotificationExtra"),
        ({"taskNotificationExtra": {"blockNumber": True}}, "blockNumber"),
        ({"taskNotificationExtra": {"blockNumber": "x"}}, "blockNumber"),
        ({"taskNotificationExtra": {"workerpoolAuthorization": []}}, "workerpoolAuthorization"),
        (
            {"taskNotificationExtra": {"workerpoolAuthorization": {"signature": "0x"}}},
            "signature",
        ),
    ],
)
def test_a_wrong_field_is_named(changed: dict[str, object], words: str) -> None:
    data = {"chainTaskId": TASK, "taskNotificationType": "PLEASE_WAIT"}
    with pytest.raises(MalformedMessage, match=words):
        Notification.from_json(data | changed)


def test_the_config_server_falls_back_to_the_adapter() -> None:
    configuration = PublicConfiguration.from_json(
        {"configServerUrl": " ", "blockchainAdapterUrl": "http://a/", "askForReplicatePeriod": "7"}
    )
    assert configuration.config_server_url == "http://a"
    assert configuration.ask_period_ms == 7
    assert configuration.has_adapter_url
    assert PublicConfiguration.from_json({}).ask_period_ms == 5000
