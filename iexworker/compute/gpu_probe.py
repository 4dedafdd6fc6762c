"""Whether the engine can give GPUs to a container: tried, since no list of it tells.

The container's image is empty, so that its program cannot be found. An engine that has come as far
as to look for it has given the GPUs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tarfile
from typing import Any

from iexworker.compute.engine import ContainerSpec, Engine, EngineRefused
from iexworker.compute.limits import gpu_request

_IMAGE = "iexworker-gpu-probe"
_PROGRAM = "/iexworker-no-such-program"
_NOT_OF_APPS = "ldcache"
"""The toolkit finds no ldconfig in an empty image; an app's has one, or needs none."""

log = logging.getLogger(__name__)


def trouble(engine: Engine, wallet: str, gpus: str) -> str:
    """Say in the engine's words why it cannot give `gpus`, empty when it can.

    `gpus` as the setting has them: `all`, or numbers and UUIDs. Nothing is left in the engine.
    Raises `DockerError` when the engine is out of reach.
    """
    tag = wallet.removeprefix("0x")
    try:
        _import_empty_image(engine, tag)
    except EngineRefused as error:
        # Apps may have their GPUs all the same.
        log.warning("GPUs of apps not tried", extra={"error": str(error)})
        return ""
    try:
        reason = _refusal(engine, tag, {"device_requests": [gpu_request(gpus)]})
        if _found_no_program(reason) or _NOT_OF_APPS in reason:
            return ""
        # The engine may be in trouble of another kind, which others tell.
        return reason if _found_no_program(_refusal(engine, tag, {})) else ""
    finally:
        with contextlib.suppress(EngineRefused), engine.asking("remove image", _IMAGE):
            engine.client.remove_image(f"{_IMAGE}:{tag}", force=True)


def _found_no_program(reason: str) -> bool:
    return not reason or _PROGRAM in reason


def _refusal(engine: Engine, tag: str, options: dict[str, Any]) -> str:
    """Start a container; return why the engine did not, empty when it did."""
    name = f"{_IMAGE}-{tag}"
    engine.remove(name)  # a killed worker may have left one
    image = f"{_IMAGE}:{tag}"
    spec = ContainerSpec(name, image, labels={}, command=(_PROGRAM,), host_options=options)
    try:
        engine.start(engine.create(spec))
    except EngineRefused as error:
        return error.reason
    finally:
        engine.remove(name)
    return ""


def _import_empty_image(engine: Engine, tag: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        folder = tarfile.TarInfo("dev")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    with engine.asking("import image", _IMAGE):
        engine.client.import_image_from_data(content.getvalue(), repository=_IMAGE, tag=tag)
