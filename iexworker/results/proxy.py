"""The result proxy: token, upload, hash, and the link that tells where a result lies.

docs/spec/09, section 2, and docs/spec/04, section 7. The archive is streamed from disk.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iexworker import peers
from iexworker.core.transport import READ_TIMEOUT_S, Body, NoAnswer, Reply, Transport
from iexworker.errors import Unavailable
from iexworker.poco.models import ZERO_BYTES32, Profile, TaskDescription, TeeFramework

UPLOAD_READ_TIMEOUT_S = 300.0
"""The proxy unpacks, checks and stores a whole archive before it answers."""
TRIES = 4
"""The first and three more: a reveal may not yet be visible to the proxy's node (2.4)."""
BLOCKS_BETWEEN_TRIES = 2

_NO_SIGNATURE = "0x" + "00" * 65
_CHUNK_BYTES = 48 * 1024  # a multiple of 3, so that the Base64 of the chunks joins
_JWT = re.compile(r"[!-~]{1,8192}")
_HASH = re.compile(r"[0-9A-Za-z]{1,128}")

log = logging.getLogger(__name__)


class ProxyError(Unavailable):
    """The result proxy refused, or gave no answer; `status` is the HTTP status, None without.

    A success that is not the proxy's own (somebody's login page) is no answer either.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def refused(self) -> bool:
        """The proxy has answered, and the same request will be answered the same way."""
        return self.status is not None and self.status < 500


@dataclass(frozen=True, slots=True)
class Upload:
    """A result to be stored (`ResultModel`, 2.4)."""

    task_id: str
    profile: Profile
    archive: Path
    image: str
    """The app's image and arguments go into the document of profile 8 only."""
    cmd: str | None
    digest: str | None = None
    """Null for standard tasks, as recorded: the proxy computes it from the archive."""

    def document(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON fields before and after `zip`, in the order of the Java worker."""
        if self.profile is Profile.V8:
            head: dict[str, Any] = {
                "chainTaskId": self.task_id,
                "image": self.image,
                "cmd": self.cmd,
            }
        else:
            head = {
                "chainTaskId": self.task_id,
                "dealId": ZERO_BYTES32,
                "taskIndex": 0,
                "image": None,
                "cmd": None,
            }
        return head, {"deterministHash": self.digest, "enclaveSignature": _NO_SIGNATURE}


class _Document:
    """The JSON text of an upload as chunks of bytes, and their total length."""

    def __init__(self, upload: Upload) -> None:
        head, tail = (json.dumps(part, separators=(",", ":")) for part in upload.document())
        self._archive = upload.archive
        self._size = upload.archive.stat().st_size
        self._before = f'{head[:-1]},"zip":"'.encode()
        self._after = f'",{tail[1:]}'.encode()

    def __len__(self) -> int:
        return len(self._before) + 4 * -(-self._size // 3) + len(self._after)

    def __iter__(self) -> Iterator[bytes]:
        yield self._before
        with self._archive.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield base64.b64encode(chunk)
        yield self._after


class ResultProxy:
    """Calls to one result proxy. Nothing is repeated here; every call raises `ProxyError`."""

    def __init__(self, base_url: str, *, of_deal: bool = False) -> None:
        self._transport = Transport(base_url, peers.result_proxy(base_url, of_deal=of_deal))

    def close(self) -> None:
        """Close the connections of all threads."""
        self._transport.close()

    def token(self, authorization: Mapping[str, Any], signature: str) -> str:
        """Return a JWT for an authorisation as received, proved by our signature (1.3, 2.3)."""
        body = json.dumps(authorization, separators=(",", ":")).encode()
        jwt = self._call("POST", "/v1/results/token", signature, body).text
        if not _JWT.fullmatch(jwt):
            raise self._odd("POST /v1/results/token", "the answer is no token")
        return jwt

    def upload(self, jwt: str, upload: Upload) -> str:
        """Store a result, return the proxy's own text; `OSError` for an unreadable archive.

        The proxy takes one result a task: a second upload is answered 401, or 400 in a race.
        """
        document = _Document(upload)
        return self._call("POST", "/v1/results", jwt, document, UPLOAD_READ_TIMEOUT_S).text

    def ipfs_hash(self, task_id: str) -> str | None:
        """Return the hash under which a task's result is stored, None when there is none (2.5)."""
        path = f"/v1/results/{task_id}/ipfshash"
        try:
            text = self._call("GET", path).text
        except ProxyError as error:
            if error.status == 404:
                return None
            raise
        if text and not _HASH.fullmatch(text):
            raise self._odd(f"GET {path}", f"the answer is no hash: {text:.80}")
        return text or None

    def _odd(self, tried: str, came: str) -> ProxyError:
        todo = "is that the address of a result proxy?"
        return ProxyError(self._transport.peer.told(tried, came, todo))

    def _call(
        self,
        method: str,
        path: str,
        authorization: str | None = None,
        body: Body = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> Reply:
        headers = {} if authorization is None else {"Authorization": authorization}
        try:
            reply = self._transport.call(
                method, path, headers=headers, body=body, read_timeout_s=read_timeout_s
            )
        except NoAnswer as error:
            raise ProxyError(str(error)) from error
        if reply.status != 200:
            said = self._transport.peer.answered(f"{method} {path}", reply.status, reply.shown)
            raise ProxyError(said, reply.status)
        return reply


def proxy_url(profile: Profile, of_deal: str | None, of_scheduler: str) -> str:
    """Return the result proxy of a task: in profile 9 the deal may name its own (2.1)."""
    chosen = (of_deal or "").strip() if profile is Profile.V9 else ""
    return chosen or of_scheduler


def link_text(storage: str, location: str) -> str:
    """Return the link in the exact text that goes on the chain, spaces included (2.6)."""
    return f'{{ "storage": "{storage}", "location": "{location}" }}'


def upload_and_link(
    proxy: ResultProxy,
    upload: Upload,
    description: TaskDescription,
    new_token: Callable[[], str],
    *,
    block_time_s: float,
    again: Callable[[ProxyError], object],
    wait: Callable[[float], object] = time.sleep,
) -> str:
    """Upload the result where that is ours to do, return its link, empty when there is none.

    `new_token` asks the proxy for a JWT; `again` is told why a try is followed by another; `wait`
    pauses between them, for 2 block times. Raises `ProxyError` when the proxy cannot be moved,
    `OSError` for an unreadable archive.
    """
    if description.has_callback:
        return link_text("ethereum", description.callback)
    if _is_tee(description, upload.profile):
        if description.params.storage_provider == "dropbox":
            return link_text("dropbox", f"/results/{upload.task_id}")
        found = proxy.ipfs_hash(upload.task_id)
        return "" if found is None else link_text("ipfs", f"/ipfs/{found}")
    # The proxy puts every standard result on IPFS, whatever provider the deal names: the link says
    # where it is (docs/decisions/0019-a-stored-result-has-a-link.md).

    def pause(refusal: ProxyError) -> None:
        again(refusal)
        wait(BLOCKS_BETWEEN_TRIES * block_time_s)

    stored = _store(proxy, upload, new_token, pause)
    return link_text("ipfs", f"/ipfs/{stored}")


def _is_tee(description: TaskDescription, profile: Profile) -> bool:
    framework = description.tee_framework
    return framework is not None and not (framework is TeeFramework.TDX and profile is Profile.V8)


def _store(
    proxy: ResultProxy,
    upload: Upload,
    new_token: Callable[[], str],
    pause: Callable[[ProxyError], object],
) -> str:
    """Return the hash under which the result is stored, by this upload or by one before."""
    for left in reversed(range(TRIES)):
        try:
            proxy.upload(new_token(), upload)
            refusal = ProxyError(f"result proxy: no hash for {upload.task_id} after its upload")
        except ProxyError as error:
            refusal = error
        # After a lost answer, and after a refusal, the result may be there all the same.
        stored = _stored(proxy, upload.task_id)
        if stored is not None:
            return stored
        log.debug(
            "upload not accepted",
            extra={"task": upload.task_id, "error": str(refusal), "tries_left": left},
        )
        if left == 0 or not _may_pass(refusal):
            raise refusal
        pause(refusal)
    raise AssertionError("the last try returns or raises")


def _stored(proxy: ResultProxy, task_id: str) -> str | None:
    try:
        return proxy.ipfs_hash(task_id)
    except ProxyError:
        return None


def _may_pass(error: ProxyError) -> bool:
    return error.status is None or error.status == 401 or error.status >= 500
