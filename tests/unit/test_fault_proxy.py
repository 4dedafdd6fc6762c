"""The proxy of the tests fails as it is told, and else changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from iexworker.core import sockjs
from tests.helpers import fake_scheduler, scripted_server
from tests.helpers.fake_scheduler import END, FakeScheduler
from tests.helpers.fault_proxy import Address, HttpFaultProxy, Mood, Said
from tests.helpers.scripted_server import Reply, ScriptedServer

STREAM = "/connect/000/" + "0" * 32 + "/xhr_streaming"


def address(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server.running() as server:
        server.on("GET /", Reply.of("of the server"))
        yield server


@pytest.fixture
def proxy(server: ScriptedServer) -> Iterator[HttpFaultProxy]:
    proxy = HttpFaultProxy(address(server.url))
    yield proxy
    proxy.close()


@pytest.fixture
def scheduler() -> Iterator[FakeScheduler]:
    with fake_scheduler.running() as scheduler:
        yield scheduler


def ask(proxy: HttpFaultProxy, path: str = "/") -> requests.Response:
    with requests.Session() as session:
        return session.get(proxy.url + path, timeout=10)


def test_nobody_is_there_until_it_opens(proxy: HttpFaultProxy) -> None:
    with pytest.raises(requests.ConnectionError):
        ask(proxy)
    proxy.open()
    assert ask(proxy).json() == "of the server"


def test_calls_are_answered_as_told_and_then_passed_on(
    proxy: HttpFaultProxy, server: ScriptedServer
) -> None:
    proxy.open()
    proxy.answer("GET /", Said("first"), Said("second", 503))
    with requests.Session() as session:
        found = [session.get(proxy.url, timeout=10) for _ in range(3)]
    assert [one.status_code for one in found] == [200, 503, 200]
    assert [one.text for one in found[:2]] == ["first", "second"]
    assert found[2].json() == "of the server"
    assert (proxy.calls, len(server.calls())) == (["GET /"] * 3, 1)


def test_one_answer_to_all_calls_lasts_until_it_is_taken_back(proxy: HttpFaultProxy) -> None:
    proxy.open()
    proxy.always("GET /", Said("always", 401))
    assert [ask(proxy).status_code for _ in range(2)] == [401, 401]
    proxy.always("GET /", None)
    assert ask(proxy).status_code == 200


def test_a_line_is_added_to_an_open_stream(scheduler: FakeScheduler) -> None:
    proxy = HttpFaultProxy(address(scheduler.url)).open()
    with requests.Session() as session:
        reply = session.post(proxy.url + STREAM, stream=True, timeout=10)
        lines = reply.iter_lines(decode_unicode=True)
        assert [next(lines), next(lines)] == [sockjs.PRELUDE, sockjs.OPEN]
        proxy.add("of the proxy")
        assert next(lines) == "of the proxy"
        told = scheduler.session()
        told.lines.put("of the scheduler")
        told.lines.put(END)
        assert list(lines) == ["of the scheduler"]
    proxy.close()


@pytest.mark.parametrize(("mood", "status"), [(Mood.SAYS_500, 500), (Mood.SAYS_503, 503)])
def test_a_mood_says_what_its_name_tells_until_it_changes(
    proxy: HttpFaultProxy, mood: Mood, status: int
) -> None:
    proxy.open()
    proxy.turn(mood)
    assert ask(proxy).status_code == status
    proxy.turn(Mood.WELL)
    assert ask(proxy).status_code == 200


def test_who_is_gone_refuses_and_comes_back_at_the_same_place(proxy: HttpFaultProxy) -> None:
    proxy.open()
    proxy.turn(Mood.GONE)
    with pytest.raises(requests.ConnectionError):
        ask(proxy)
    proxy.turn(Mood.WELL)
    assert ask(proxy).status_code == 200
