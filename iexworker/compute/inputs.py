"""The inputs of a standard task: its dataset, then its input files (docs/spec/06, section 5)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from iexworker import durable_files
from iexworker.compute.blame import Blame, Patience, Trouble
from iexworker.compute.download import Download, shown
from iexworker.compute.folders import TaskFolder
from iexworker.compute.names import BadInputName, input_file_name
from iexworker.errors import WorkerError
from iexworker.poco.models import Profile, TaskDescription

log = logging.getLogger(__name__)

DATASET_DOWNLOAD_FAILED = "DATASET_FILE_DOWNLOAD_FAILED"
DATASET_BAD_CHECKSUM = "DATASET_FILE_BAD_CHECKSUM"
INPUT_DOWNLOAD_FAILED = "INPUT_FILES_DOWNLOAD_FAILED"

_BASE58 = "[1-9A-HJ-NP-Za-km-z]"
_V0 = re.compile(rf"/(?:ipfs|p2p)/(?:Qm{_BASE58}{{44}}|1{_BASE58}{{8,}})")
_V1 = re.compile(
    r"/ipfs/(?:"
    r"b[a-z2-7]{8,}"  # base32
    r"|B[A-Z2-7]{8,}"
    r"|k[a-z0-9]{8,}"  # base36
    r"|f[0-9a-f]{8,}"  # base16
    rf"|z{_BASE58}{{8,}}"  # base58btc
    r"|[mu][A-Za-z0-9+/_-]{8,})"  # base64, base64url
)


class InputsFailed(WorkerError):
    """An input cannot be had, and the requester is to blame; `cause` is the wire's."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Inputs:
    """Fetches a task's inputs into its folder."""

    folder: TaskFolder
    download: Download
    patience: Patience
    gateways: tuple[str, ...]

    def fetch(self, description: TaskDescription, profile: Profile) -> None:
        """Fill an empty `input` folder.

        Raises `InputsFailed` when the requester is to blame, `Trouble` when we are, `OSError`
        for a disk of ours that fails, and `Cancelled`.
        """
        self.patience.persist(self.folder.prepare_input, "input folder")
        if description.has_dataset:
            self._dataset(description)
        for uri in description.params.input_files or ():
            self._input_file(uri, profile)
        durable_files.sync(self.folder.input)

    def _dataset(self, description: TaskDescription) -> None:
        uri = description.dataset_uri
        digest = self._persist(DATASET_DOWNLOAD_FAILED, lambda: self._first_of(uri), uri)
        if "0x" + digest != description.dataset_checksum:
            # A second look: a connection cut in the middle may pass for a whole file.
            digest = self._persist(DATASET_DOWNLOAD_FAILED, lambda: self._first_of(uri), uri)
        if "0x" + digest != description.dataset_checksum:
            raise InputsFailed(
                DATASET_BAD_CHECKSUM,
                f"dataset: SHA-256 is 0x{digest}, expected {description.dataset_checksum}",
            )
        self._keep(description.dataset_address)

    def _input_file(self, uri: str | None, profile: Profile) -> None:
        try:
            name = input_file_name(uri, profile)
        except BadInputName as error:
            raise InputsFailed(INPUT_DOWNLOAD_FAILED, str(error)) from None
        url = uri or ""
        target = self.folder.download
        self._persist(INPUT_DOWNLOAD_FAILED, lambda: self.download.fetch(url, target), url)
        self._keep(name)

    def _first_of(self, uri: str) -> str:
        """Fetch a dataset from its URL, or from the first gateway that has it."""
        target = self.folder.download
        if not is_content_address(uri):
            return self.download.fetch(uri, target)
        troubles: list[Trouble] = []
        for url in gateway_urls(uri, self.gateways):
            try:
                return self.download.fetch(url, target, trusted=True)
            except Trouble as trouble:
                log.info("gateway failed", extra={"url": url, "error": str(trouble)})
                troubles.append(trouble)
        blame = max((trouble.blame for trouble in troubles), default=Blame.OURS)
        raise Trouble(blame, "; ".join(map(str, troubles)) or "no IPFS gateway is set")

    def _persist(self, cause: str, work: Callable[[], str], what: str) -> str:
        try:
            return self.patience.persist(work, shown(what))
        except Trouble as trouble:
            if trouble.blame is Blame.REQUESTER:
                raise InputsFailed(cause, str(trouble)) from None
            raise

    def _keep(self, name: str) -> None:
        self.folder.download.chmod(0o644)
        self.folder.download.replace(self.folder.input / name)


def is_content_address(location: str) -> bool:
    """Whether the location is a path of IPFS instead of a URL; java-multiaddr takes slashes off."""
    path = location.rstrip("/")
    return bool(_V0.fullmatch(path) or _V1.fullmatch(path))


def gateway_urls(location: str, gateways: tuple[str, ...]) -> tuple[str, ...]:
    """Return the URLs at which the content may be had, in the order to try."""
    return tuple(gateway.rstrip("/") + location for gateway in gateways)
