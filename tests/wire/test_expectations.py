"""The replay lets no difference pass."""

from __future__ import annotations

from dataclasses import replace

from iexworker.poco.hashing import keccak, lenient_bytes
from iexworker.wallet import Wallet
from tests.wire.helpers.divergences import Divergence, amend
from tests.wire.helpers.expectations import Asked, Expectations
from tests.wire.helpers.run_script import WALLET, Event, Script, recorded

PING = {"content-type": "application/json", "accept": "*/*"}
STANDARD = "0x7befe564fcb5158da7b74269ffdb4289a9d1e3afcc36c0c561c53850a5f7ede0"


def expect(script: Script) -> Expectations:
    """Return expectations at the first start of a script, with nobody to push to."""
    expectations = Expectations(script, lambda line: None)
    expectations.begin(1)
    return expectations


def excerpt(*numbers: int) -> Script:
    """Return a script of some events of 9.2-standard."""
    wanted = {f"9.2-standard[{number}]" for number in numbers}
    events = [event for event in recorded("9.2")["9.2-standard"] if event.where in wanted]
    return Script((tuple(events),))


def asked(script: Script, number: int, **changed: object) -> Asked:
    """Return an event's request as a worker would send it, but for some fields."""
    event = script.starts[0][number]
    return Asked(event.line, event.body | changed, event.headers)


def test_what_is_recorded_is_taken_and_answered() -> None:
    script = excerpt(2, 3)
    replay = expect(script)

    answers = [replay.take(asked(script, number)).value for number in (0, 1)]

    assert answers == ["PLEASE_CONTINUE", "PLEASE_DOWNLOAD_APP"]
    assert replay.complete()
    assert replay.differences == []


def test_a_field_with_another_value_is_a_difference() -> None:
    script = excerpt(2)
    replay = expect(script)

    replay.take(asked(script, 0, success=1, details={}))

    assert [words.partition("updateStatus")[2] for words in replay.differences] == [
        ".details: recorded None, sent {}",
        ".success: recorded True, sent 1",
    ]


def test_a_field_too_many_and_one_too_few_are_differences() -> None:
    script = excerpt(2)
    replay = expect(script)
    body = dict(script.starts[0][0].body) | {"tea": 1}
    del body["date"]

    replay.take(Asked(script.starts[0][0].line, body, script.starts[0][0].headers))

    assert [words.partition("updateStatus")[2] for words in replay.differences] == [
        ".date is missing",
        ".tea is not recorded: 1",
    ]


def test_a_header_that_the_recorded_worker_did_not_send_is_a_difference() -> None:
    script = excerpt(2)
    replay = expect(script)
    event = script.starts[0][0]

    replay.take(Asked(event.line, event.body, {**PING, "authorization": "Bearer other"}))

    assert len(replay.differences) == 1
    assert " headers.authorization: recorded 'Bearer <jwt>'" in replay.differences[0]


def test_an_update_before_its_turn_is_a_difference() -> None:
    script = excerpt(2, 3)
    replay = expect(script)

    replay.take(asked(script, 1))

    assert ".status: recorded 'STARTING', sent 'STARTED'" in replay.differences[0]


def test_a_request_that_no_recording_shows_is_a_difference() -> None:
    replay = expect(excerpt(2))

    answer = replay.take(Asked("GET /replicates/interrupted?blockNumber=N", None, PING))

    assert answer.status == 503
    assert replay.differences == ["GET /replicates/interrupted?blockNumber=N null: due was nothing"]


def test_a_request_that_never_comes_stays_due() -> None:
    replay = expect(excerpt(2))

    assert not replay.complete()
    assert [words.rpartition(" ")[2] for words in replay.outstanding()] == ["STARTING"]


def session_events(*numbers: int) -> tuple[Event, ...]:
    """Return some events of 8.5-session."""
    wanted = {f"8.5-session[{number}]" for number in numbers}
    return tuple(event for event in recorded("8.5")["8.5-session"] if event.where in wanted)


def test_a_grant_waits_for_all_that_was_recorded_before_it() -> None:
    informed, granted = session_events(4, 17)
    replay = expect(Script(((informed, granted),)))
    demand = Asked(granted.line, None, granted.headers)

    assert replay.take(demand).status == 204
    replay.take(Asked(informed.line, None, {}))
    assert replay.take(demand).status == 200
    assert replay.differences == []


def test_a_ping_or_a_demand_before_the_registration_is_a_difference() -> None:
    registered, asking, pinging = session_events(9, 13, 14)
    replay = expect(Script(((registered, asking, pinging),)))

    for event in (asking, pinging):
        replay.take(Asked(event.line, None, event.headers))

    assert [words.partition(" null")[0] for words in replay.differences] == [
        "GET /replicates/available?blockNumber=N",
        "POST /workers/ping",
    ]


def test_a_ping_without_a_token_is_a_difference() -> None:
    (pinging,) = session_events(14)
    replay = expect(Script(((pinging,),)))

    replay.take(Asked(pinging.line, None, pinging.headers))
    replay.take(Asked(pinging.line, None, pinging.headers))
    assert replay.differences == []
    replay.take(Asked(pinging.line, None, PING))

    assert replay.differences == ["POST /workers/ping null: due was nothing"]


def test_a_login_signed_with_another_key_is_a_difference() -> None:
    replay = expect(Script((tuple(recorded("9.2")["9.2-session"][3:4]),)))
    challenge = replay.take(
        Asked("GET /workers/challenge?walletAddress=" + WALLET, None, PING)
    ).value
    value = Wallet(b"\1" * 32).sign_digest(keccak(lenient_bytes(challenge)))

    replay.take(Asked(f"POST /workers/login?walletAddress={WALLET}", {"value": value}, PING))

    assert "signed by 0x1a642f0e3c3af545e7acbd38b07251b3990914f1" in replay.differences[0]


def test_a_divergence_that_is_not_needed_is_a_difference() -> None:
    needless = Divergence("9.2-standard", (2,), "no reason", "nothing", unsent=True)
    amended_events = amend(needless, recorded("9.2"))["9.2-standard"]
    replay = expect(Script((tuple(event for event in amended_events if event.task_id),)))

    replay.take(asked(excerpt(2), 0))

    assert ".status: recorded 'STARTED', sent 'STARTING'" in replay.differences[0]


def test_what_a_task_sends_after_the_end_of_its_replay_is_not_compared() -> None:
    script = excerpt(2, 3)
    last = replace(script.starts[0][0], ends=True)
    replay = expect(Script(((last,),)))

    replay.take(asked(script, 0))
    answer = replay.take(asked(script, 1))

    assert answer.status == 503
    assert replay.differences == []
    assert replay.ended() == {STANDARD}
