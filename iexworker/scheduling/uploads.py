"""Uploads a result until the proxy has it or refuses it (docs/spec/09, 2.4 to 2.6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from iexworker import outage
from iexworker.compute.folders import TaskFolder
from iexworker.core.session import Terms
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.hashing import authorization_hash, lenient_bytes
from iexworker.poco.models import TaskDescription
from iexworker.results.proxy import ProxyError, ResultProxy, Upload, proxy_url, upload_and_link
from iexworker.retry import until_it_works
from iexworker.task.replicate import Replicate
from iexworker.wallet import Wallet

UPLOAD_THREADS = 2

log = logging.getLogger(__name__)


class Uploads:
    """Uploads in its own threads, so that a slow proxy delays nothing else."""

    def __init__(self, wallet: Wallet, terms: Callable[[], Terms | None]) -> None:
        self._wallet = wallet
        self._terms = terms
        self._threads = ThreadPoolExecutor(UPLOAD_THREADS, thread_name_prefix="upload")

    async def upload(self, replicate: Replicate, description: TaskDescription, folder: Path) -> str:
        """Return the result's link, "" if the proxy refuses the result or has no link.

        A proxy that does not answer is tried until the task's final deadline.
        """
        task_id = replicate.task_id
        try:
            return await self._persist(replicate, description, folder)
        except OSError as error:
            log.error("archive unreadable", extra={"task": task_id, "error": str(error)})
        except ProxyError as error:
            log.error("upload refused", extra={"task": task_id, "error": str(error)})
        return ""

    async def _persist(
        self, replicate: Replicate, description: TaskDescription, folder: Path
    ) -> str:
        loop = asyncio.get_running_loop()

        def again(error: Exception) -> None:
            if isinstance(error, ProxyError) and error.refused:
                raise error
            away(error)

        def away(error: Exception) -> None:
            """Tell of a proxy that does not serve; one that has refused is at work."""
            if not (isinstance(error, ProxyError) and error.refused):
                trial.failed(outage.RESULT_PROXY, error, task=replicate.task_id)

        with outage.trial() as trial:
            return await until_it_works(
                lambda: loop.run_in_executor(
                    self._threads, self._once, replicate, description, folder, away
                ),
                ProxyError,
                again,
                description.final_deadline_s,
            )

    def _once(
        self,
        replicate: Replicate,
        description: TaskDescription,
        folder: Path,
        away: Callable[[ProxyError], object],
    ) -> str:
        terms = self._terms()
        if terms is None:
            raise ProxyError("the scheduler's terms are not known yet")
        params = description.params
        url = proxy_url(
            replicate.profile, params.storage_proxy, terms.configuration.result_proxy_url
        )
        proxy = ResultProxy(url, of_deal=url != terms.configuration.result_proxy_url)
        upload = Upload(
            task_id=replicate.task_id,
            profile=replicate.profile,
            archive=TaskFolder(folder).archive,
            image=description.app_image,
            cmd=params.args,
        )
        try:
            link = upload_and_link(
                proxy,
                upload,
                description,
                lambda: proxy.token(
                    replicate.authorization.raw, self._proof(replicate.authorization)
                ),
                block_time_s=terms.chain.block_time_s,
                again=away,
            )
        finally:
            proxy.close()
        if not link:
            reason = _no_link(params.storage_provider)
            log.warning(
                "no link to the result", extra={"task": replicate.task_id, "reason": reason}
            )
        return link

    def _proof(self, authorization: WorkerpoolAuthorization) -> str:
        signed = authorization_hash(
            authorization.worker_wallet, authorization.task_id, authorization.enclave_challenge
        )
        return self._wallet.sign_message_hash(lenient_bytes(signed))


def _no_link(provider: str | None) -> str:
    said = f"names the storage provider {provider!r}" if provider else "names no storage provider"
    return (
        "the result proxy has no result of the task to link to, and the deal "
        f"{said} (iexec_result_storage_provider)"
    )
