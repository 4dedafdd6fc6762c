"""A failed call in words: what came back, and what to do about it where that is known.

Never a library's own words: no class names, no tuples. TLS that met plain HTTP, and the reverse,
are told apart from what merely hung up by asking the port once.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from iexworker.http_environment import proxy_of_url, spoken_url

_PROBE_TIMEOUT_S = 2.0
_PROBED_FOR_S = 60.0
_LONGEST_WORDS = 200

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
_MET_PLAIN_HTTP = re.compile(
    "WRONG_VERSION_NUMBER|HTTP_REQUEST|UNKNOWN_PROTOCOL|PACKET_LENGTH_TOO_LONG"
    "|RECORD_LAYER_FAILURE|WRONG_SSL_VERSION"
)
_ASKS_FOR_TLS = re.compile(
    "http request to an https server|plain http request was sent to https"
    "|speaking plain http to an ssl-enabled|combination of host and port requires tls",
    re.IGNORECASE,
)
_TLS_ALERT = re.compile(r"\x15\x03|\\x15\\x03")
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3}[^'\")]*)")
_TIMEOUT = re.compile(r"timeout=([\d.]+)")
_WANTS_TLS = "it wants TLS, and plain HTTP was spoken"
_WANTS_HTTP = "it answers in plain HTTP, and TLS was spoken"

Words = tuple[str, str]
"""What came back; what to do, empty where nobody knows better than whoever asks."""


_OTHER_NAME = ("its certificate is for another name", "use the name that it was issued for")


def explained(error: BaseException, address: str = "", setting: str = "") -> Words:
    """Return the words for a failed call to an address that comes from a setting."""
    causes = list(_causes(error))
    if any(_kind(item) == "ProxyError" for item in causes):
        return _of_proxy(causes, address)
    return _of(causes, address, setting)


def words_of(error: BaseException) -> str:
    """Return what came back, for whoever knows by himself what to do."""
    return explained(error)[0]


def asks_for_tls(text: str) -> bool:
    """Tell whether a server's error page says that it was spoken to without TLS."""
    return _ASKS_FOR_TLS.search(text) is not None


def with_tls(address: str, setting: str) -> str:
    """Return what to do about a server that wants TLS."""
    if address.startswith("tcp://"):
        return f"set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or correct {setting}"
    return f"write https:// in {setting or 'the address'}"


def with_login(variable: str) -> str:
    """Return what to do about a proxy that wants a login."""
    return f"put the proxy's login into {variable}: http://user:...@host:port"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was made from, the outermost first."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        item = waiting.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        inner = (item.__cause__, item.__context__, getattr(item, "reason", None), *item.args)
        waiting.extend(one for one in inner if isinstance(one, BaseException))


def _kind(error: BaseException) -> str:
    return type(error).__name__


Causes = Sequence[BaseException]
Explain = Callable[[Causes, str, str], Words | None]


def _of(causes: Causes, address: str, setting: str) -> Words:
    kinds: tuple[Explain, ...] = (_tls, _name, _time, _connection, _answer, _system, _cut, _text)
    found = (explain(causes, address, setting) for explain in kinds)
    return next((words for words in found if words is not None), (_plain(causes[-1]), ""))


def _of_proxy(causes: Causes, address: str) -> Words:
    proxy = proxy_of_url(spoken_url(address))
    variable = "HTTP_PROXY" if proxy is None else proxy.variable
    host = urlsplit(spoken_url(address)).hostname or "the host"
    instead = f"check {variable}, or name {host} in NO_PROXY"
    refusal = next((match[1] for item in causes if (match := _TUNNEL.search(str(item)))), "")
    if refusal:
        todo = with_login(variable) if refusal.startswith("407") else instead
        return f"the proxy answers {refusal.strip()}", todo
    inner = [item for item in causes if _kind(item) != "ProxyError"] or causes
    came, todo = _of(inner, "" if proxy is None else proxy.url, variable)
    return f"the proxy: {came}", todo or instead


def _tls(causes: Causes, address: str, setting: str) -> Words | None:
    if any(_kind(item) == "CertificateError" for item in causes):
        return _OTHER_NAME
    text = " ".join(str(item) for item in causes)
    error = next((item for item in causes if isinstance(item, ssl.SSLError)), None)
    if error is None:
        return (_WANTS_TLS, with_tls(address, setting)) if _TLS_ALERT.search(text) else None
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, setting)
    if _MET_PLAIN_HTTP.search(text) or _answers_in(address) == "http":
        return _WANTS_HTTP, _without_tls(setting)
    reason = (error.reason or "it does not say why").replace("_", " ").lower()
    return f"no TLS connection: {reason}", ""


def _without_tls(setting: str) -> str:
    if setting == "DOCKER_HOST":
        return "write tcp:// in DOCKER_HOST, and unset DOCKER_TLS_VERIFY"
    return f"write http:// in {setting or 'the address'}"


def _certificate(error: ssl.SSLCertVerificationError, setting: str) -> Words:
    # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH, _CERT_NOT_YET_VALID and _HAS_EXPIRED
    if error.verify_code in (62, 64):
        return _OTHER_NAME
    if error.verify_code in (9, 10):
        return f"its {error.verify_message}", "is this machine's clock right?"
    todo = "name its authority's file in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
    if setting == "DOCKER_HOST":
        todo = "have its ca.pem in DOCKER_CERT_PATH, or in the file of REQUESTS_CA_BUNDLE"
    return f"its certificate is not trusted: {error.verify_message}", todo


def _name(causes: Causes, address: str, setting: str) -> Words | None:
    error = next((item for item in causes if isinstance(item, socket.gaierror)), None)
    if error is None:
        return None
    host = urlsplit(spoken_url(address)).hostname or "of the host"
    if error.errno in _NO_SUCH_NAME:
        return f"the name {host} is not known", "check the address, and this machine's DNS"
    return f"the name {host} could not be looked up", "check this machine's DNS"


def _time(causes: Causes, address: str, setting: str) -> Words | None:
    for item in causes:
        match = _TIMEOUT.search(str(item))
        within = f"within {float(match[1]):g} s" if match else "in time"
        if _kind(item) in ("ConnectTimeoutError", "ConnectTimeout"):
            return f"no connection {within}", ""
        if isinstance(item, TimeoutError) or _kind(item) in ("ReadTimeoutError", "ReadTimeout"):
            return f"no answer {within}", ""
    return None


def _connection(causes: Causes, address: str, setting: str) -> Words | None:
    if any(isinstance(item, ConnectionRefusedError) for item in causes):
        if address.startswith("unix://"):
            return _socket(errno.ECONNREFUSED, address)
        return "connection refused: nothing listens there", ""
    ends = (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)
    if not any(isinstance(item, ends) for item in causes):
        return None
    tongue = _answers_in(address)
    if tongue == "tls":
        return _WANTS_TLS, with_tls(address, setting)
    if tongue == "http":
        return _WANTS_HTTP, _without_tls(setting)
    return "it closed the connection without an answer", ""


_BY_KIND = {
    "IncompleteRead": "its answer was cut off",
    "InvalidChunkLength": "its answer was cut off",
    "DecodeError": "its answer cannot be unpacked",
    "TooManyRedirects": "it redirects too often",
    "JSONDecodeError": "its answer is no JSON",
    "InvalidURL": "the address cannot be used",
    "MissingSchema": "the address cannot be used",
    "InvalidSchema": "the address cannot be used",
    "LocationParseError": "the address cannot be used",
}


def _answer(causes: Causes, address: str, setting: str) -> Words | None:
    words = next(
        (_BY_KIND[_kind(item)] for item in reversed(causes) if _kind(item) in _BY_KIND), ""
    )
    if words:
        return words, ""
    for item in causes:
        if isinstance(item, http.client.HTTPException):
            line = " ".join("".join(filter(str.isprintable, str(item))).strip("'\"").split())
            return "its answer is no HTTP" + (f": {line[:60]}" if line else ""), ""
    return None


def _system(causes: Causes, address: str, setting: str) -> Words | None:
    for item in reversed(causes):
        number = (item.errno if isinstance(item, OSError) else 0) or 0
        if number in errno.errorcode:
            if address.startswith("unix://"):
                return _socket(number, address)
            return os.strerror(number).lower(), ""
    return None


def _cut(causes: Causes, address: str, setting: str) -> Words | None:
    is_cut = any(_kind(item) in ("ProtocolError", "ChunkedEncodingError") for item in causes)
    return ("its answer was cut off", "") if is_cut else None


def _text(causes: Causes, address: str, setting: str) -> Words | None:
    """Return the words for what no library class tells: a URL that cannot be read."""
    is_url = any(isinstance(item, ValueError) for item in causes)
    return ("the address cannot be used", "") if is_url else None


def _socket(number: int, address: str) -> Words:
    """Return the words for a Docker engine's socket that cannot be connected to."""
    try:
        mode = Path(address.removeprefix("unix://")).stat().st_mode
    except OSError:
        mode = 0
    if stat.S_ISDIR(mode):
        return "it is a folder: Docker makes one where the socket to mount is missing", ""
    if mode and not stat.S_ISSOCK(mode):
        return "it is no socket", ""
    if number == errno.ENOENT:
        return "there is no such socket", "start Docker, or mount its socket"
    if number == errno.EACCES:
        return "permission denied", "run as root, or as a user of the group docker"
    return os.strerror(number).lower(), ""


def _plain(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:_LONGEST_WORDS] or "it does not say why"


_answers: dict[tuple[str, int], tuple[float, str]] = {}
_answers_lock = threading.Lock()


def _answers_in(address: str) -> str:
    """Return `tls` or `http` where a port speaks the other one than was spoken, else "".

    Asked of a port that hung up, at most once a minute; never through a proxy.
    """
    url = spoken_url(address)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or proxy_of_url(url):
        return ""
    is_plain = parts.scheme == "http"
    key, now_s = (parts.hostname, port or (80 if is_plain else 443)), time.monotonic()
    with _answers_lock:
        at_s, tongue = _answers.get(key, (-_PROBED_FOR_S, ""))
    if now_s - at_s >= _PROBED_FOR_S:
        tongue = "tls" if is_plain and _speaks_tls(*key) else ""
        tongue = "http" if not is_plain and _speaks_http(*key) else tongue
        with _answers_lock:
            _answers[key] = (now_s, tongue)
    return tongue


def forget() -> None:
    """Ask every port anew, as a process that is born; for tests."""
    with _answers_lock:
        _answers.clear()


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), _PROBE_TIMEOUT_S) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return True
    except (OSError, ValueError):
        return False


def _speaks_http(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _PROBE_TIMEOUT_S) as connection:
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False
