"""Asks an engine that has refused a container whether it would start another.

moby reports what is wrong with an app's image as it reports its own faults: HTTP 500. Its words
are no safe sign, since the image's author chooses half of them. So an image of nothing is started,
under the conditions of the app's container: an engine that gets as far as its command works.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace

from iexworker.compute import names
from iexworker.compute.engine import ContainerSpec, Engine, EngineRefused
from iexworker.errors import DockerError

_COMMAND = "/iexworker-probe"
_FOLDERS = ("etc", "tmp", "usr", "usr/bin", "usr/lib")
"""What the hooks of container runtimes expect of an image."""


def require_working(engine: Engine, like: ContainerSpec) -> None:
    """Raise `DockerError` unless the engine gets a container of ours as far as its command."""
    engine.ping()
    with _image(engine, like.labels.get(names.LABEL_TASK, "")) as image:
        probe = replace(
            like,
            name=f"{like.name}-probe",
            image=image,
            labels={**like.labels, names.LABEL_STAGE: "probe"},
            command=(_COMMAND,),
            entrypoint=None,
        )
        container = engine.create(probe)
        try:
            engine.start(container)
        except EngineRefused as error:
            if _COMMAND not in error.reason:
                raise
        finally:
            with contextlib.suppress(DockerError):
                engine.remove(container)


@contextlib.contextmanager
def _image(engine: Engine, task: str) -> Iterator[str]:
    """Have an image with nothing in it; its identifier is its own each time."""
    image = engine.import_image(_archive(), {names.LABEL_TASK: task})
    try:
        yield image
    finally:
        with contextlib.suppress(DockerError):
            engine.remove_image(image)


def _archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in _FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
    return content.getvalue()
