"""Proxies, netrc, authorities and Docker's TLS: one rule for every client of the worker."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.errors import SettingsError
from iexworker.settings.model import load
from tests.field.helpers.clients import CLIENTS, call
from tests.field.helpers.faulty_peer import (
    CERTIFICATE,
    FaultyPeer,
    faulty_peer,
    http,
    tls_context,
)

ROOT = Path(__file__).parents[2]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
DOCKER = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG", "NETRC")
FAR = "http://core.pool.test:13000"
"""A host that only a proxy could know."""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*PROXIES, *AUTHORITIES, *DOCKER):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def proxy() -> Iterator[FaultyPeer]:
    with faulty_peer(http(b"", "502 Bad Gateway")) as peer:
        yield peer


def address(proxy: FaultyPeer) -> str:
    return f"http://127.0.0.1:{proxy.port}"


# Proxies


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_every_client_asks_the_proxy_that_the_environment_names(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch, client: str, variable: str
) -> None:
    monkeypatch.setenv(variable, address(proxy).removeprefix("http://"))
    call(client, FAR)
    assert proxy.paths and all(path.startswith(FAR + "/") for path in proxy.paths)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_every_client_has_the_proxy_connect_it_to_a_server_with_tls(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch, client: str, variable: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv(variable, address(proxy))
    if variable == "ALL_PROXY":
        monkeypatch.delenv("HTTP_PROXY")
    call(client, "https://core.pool.test:443")
    assert proxy.first and proxy.first[0].startswith(b"CONNECT core.pool.test:443 ")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "listed",
    [
        "core.pool.test",
        "pool.test",
        ".pool.test",
        "*.pool.test",
        "other.test, CORE.pool.test:13000",
        "*",
    ],
)
def test_no_client_asks_the_proxy_for_a_host_that_no_proxy_names(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch, client: str, listed: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address(proxy))
    monkeypatch.setenv("no_proxy", listed)
    said = call(client, FAR)
    assert not proxy.first
    assert "core.pool.test" in said


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("listed", ["ool.test", "test.pool", "core.pool.test:1", "10.0.0.0/8", ""])
def test_no_proxy_names_whole_parts_of_a_host_and_its_port(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch, client: str, listed: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address(proxy))
    monkeypatch.setenv("NO_PROXY", listed)
    call(client, FAR)
    assert proxy.first


@pytest.mark.parametrize("client", CLIENTS)
def test_what_does_not_leave_the_machine_goes_through_no_proxy(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    for host in ("127.0.0.1", "localhost"):
        call(client, f"http://{host}:{proxy.port}")
    assert len(proxy.first) >= 2
    assert not [path for path in proxy.paths if "://" in path]


def test_where_both_are_set_the_lower_case_one_counts_and_an_empty_one_is_unset(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", address(proxy))
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "node.pool.test")
    call("scheduler", FAR)
    call("chain node", FAR.replace("core", "node"))
    assert proxy.paths == [f"{FAR}/version"]


def test_a_redirect_is_judged_by_where_it_leads(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = http(b"", f"302 Found\r\nLocation: {FAR}/elsewhere")
    with faulty_peer(moved) as near:
        monkeypatch.setenv("HTTP_PROXY", address(proxy))
        call("scheduler", near.url)
        assert near.paths == ["/version"]
    assert proxy.paths == [f"{FAR}/elsewhere"]


def test_the_proxys_login_is_sent_to_the_proxy(
    proxy: FaultyPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address(proxy).replace("//", "//me:p%40ss@"))
    for client in CLIENTS:
        said = call(client, FAR)
        assert "p%40ss" not in said and "p@ss" not in said
    login = b"proxy-authorization: basic bwu6cebzcw=="
    assert all(login in line.lower() for line in proxy.first)
    assert len(proxy.first) >= len(CLIENTS)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "socks5://proxy.example:1080"),
        ("https_proxy", "socks5h://proxy.example:1080"),
        ("ALL_PROXY", "socks5://proxy.example:1080"),
        ("HTTP_PROXY", "http://"),
        ("HTTP_PROXY", "http://proxy.example:port"),
        ("HTTPS_PROXY", "http://me:secret@proxy example:3128"),
        ("HTTPS_PROXY", "ftp://me:secret@proxy.example"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_found_at_the_start(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({variable: value}, config_dirs=())
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable}=")
    assert "expected" in problem and "for example" in problem
    assert "secret" not in problem


def test_a_proxy_that_no_request_would_use_stops_nobody() -> None:
    socks = "socks5://127.0.0.1:1080"
    load({"ALL_PROXY": socks, "NO_PROXY": "*"}, config_dirs=())
    own = {"HTTP_PROXY": "proxy.example:3128", "HTTPS_PROXY": "http://proxy.example:3128"}
    load({"ALL_PROXY": socks, **own}, config_dirs=())


# .netrc


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("place", ["NETRC", ".netrc", "_netrc"])
def test_no_client_takes_a_login_from_netrc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str, place: str
) -> None:
    netrc = tmp_path / ("netrc" if place == "NETRC" else place)
    netrc.write_text("default login leaked password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    if place == "NETRC":
        monkeypatch.setenv("NETRC", str(netrc))
    with faulty_peer(http(b"{}")) as server:
        call(client, server.url)
        assert server.first
        assert not [line for line in server.first if b"authorization" in line.lower()]


def test_the_login_in_the_nodes_address_is_used_whatever_netrc_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login leaked password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with faulty_peer(http(b"{}")) as server:
        call("chain node", server.url.replace("//", "//node:right@"))
        assert b"Authorization: Basic bm9kZTpyaWdodA==" in server.first[0]


# Authorities


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", [*AUTHORITIES, None])
def test_every_client_trusts_the_authorities_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, client: str, variable: str | None
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, str(CERTIFICATE))
    with faulty_peer(http(b"{}"), tls=tls_context()) as server:
        said = call(client, f"https://localhost:{server.port}")
        assert bool(server.first) is (variable is not None), said


def test_of_two_files_of_authorities_the_one_for_requests_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with faulty_peer(http(b"{}"), tls=tls_context()) as server:
        for client in CLIENTS:
            call(client, f"https://localhost:{server.port}")
        assert len(server.first) >= len(CLIENTS)


@pytest.mark.parametrize("variable", AUTHORITIES)
@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_a_file_of_authorities_that_is_none_is_found_at_the_start(
    tmp_path: Path, variable: str, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load({variable: str(path)}, config_dirs=())
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable}={path}: ")


# Docker


def docker_folder(folder: Path) -> Path:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).write_text(CERTIFICATE.read_text())
    return folder


@pytest.mark.parametrize("named_by", ["DOCKER_CERT_PATH", "DOCKER_CONFIG", "HOME"])
def test_docker_is_asked_with_tls_and_the_certificate_of_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named_by: str
) -> None:
    folder = tmp_path / ".docker"
    folder.mkdir()
    docker_folder(folder)
    if named_by != "HOME":
        monkeypatch.setenv(named_by, str(folder))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    version = http(b'{"ApiVersion": "1.47"}')
    with faulty_peer(version, tls=tls_context(wants_client=True)) as server:
        assert call("Docker engine", f"tcp://127.0.0.1:{server.port}") == ""
        assert server.paths == ["/version", "/v1.47/_ping"]


def test_dockers_server_is_checked_against_the_authority_of_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with faulty_peer(http(b"{}"), tls=tls_context()) as server:
        said = call("Docker engine", f"tcp://127.0.0.1:{server.port}")
        assert not server.first
    assert "certificate" in said and "DOCKER_CERT_PATH" in said


def test_docker_without_its_tls_variable_is_asked_as_its_address_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", str(docker_folder(tmp_path)))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "")
    with faulty_peer(http(b'{"ApiVersion": "1.47"}')) as server:
        assert call("Docker engine", f"tcp://127.0.0.1:{server.port}") == ""


def test_a_folder_of_dockers_certificates_that_is_none_is_found_at_the_start(
    tmp_path: Path,
) -> None:
    tls = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path / "absent")}
    with pytest.raises(SettingsError) as caught:
        load({"DOCKER_HOST": "tcp://docker.example:2376", **tls}, config_dirs=())
    (problem,) = caught.value.problems
    assert problem.startswith(f"DOCKER_CERT_PATH={tmp_path / 'absent'}: ")
    load({"DOCKER_HOST": "unix:///var/run/docker.sock", **tls}, config_dirs=())


# The rule has one place


OWN_WAYS = {
    "requests.Session",
    "requests.get",
    "requests.post",
    "requests.request",
    "docker.APIClient",
    "docker.from_env",
    "urllib.request.getproxies",
    "urllib.request.proxy_bypass",
    "urllib.request.urlopen",
}


def test_no_client_makes_a_session_of_its_own() -> None:
    wrong = []
    for path in sorted((ROOT / "iexworker").rglob("*.py")):
        if "sandbox" in path.parts or path.name == "http_session.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in OWN_WAYS:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}")
    assert wrong == []


def test_the_manual_tells_the_rule() -> None:
    manual = (ROOT / "docs/settings.md").read_text()
    for name in (*PROXIES, *AUTHORITIES, "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "`.netrc`"):
        assert name in manual
