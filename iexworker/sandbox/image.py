"""The demo app's image: a static busybox and one script, built without pulling anything."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iexworker.errors import SandboxError
from iexworker.sandbox.network import tools
from iexworker.sandbox.network.registry import LOGIN, Registry

if TYPE_CHECKING:
    import docker

NAME = "demo"
TAG = "1"
LABEL = "iexworker.sandbox"
"""Every image that the sandbox makes carries it."""

SCRIPT = Path(__file__).with_name("app") / "run.sh"
INTERPRETER_SEGMENT = b"/ld-"
"""The path of a dynamic loader, which a static program has not."""

BUSYBOX_PACKAGE = "busybox-static"
ENGINE_SOCKET = Path("/var/run/docker.sock")
ROOTS_PROGRAMS = "/usr/sbin"
"""Where the engine's program is; the PATH of others than root may lack it."""


def engine() -> docker.DockerClient:
    """Connect to the Docker engine; SandboxError when none answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise SandboxError(
            f"no Docker engine answers{_remedy(str(error))} ({_system_words(error)})"
        ) from error
    return client


def _system_words(error: BaseException) -> str:
    """Give the system's own words for what is behind an error, without what wraps them."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.strerror:
            return behind.strerror
        behind = behind.__cause__ or behind.__context__
    return str(error)


def engine_package() -> str:
    """Name the package of Debian's that brings an engine; empty where there is one, or another."""
    path = os.pathsep.join((os.environ.get("PATH", ""), ROOTS_PROGRAMS))
    here = os.environ.get("DOCKER_HOST") or shutil.which("dockerd", path=path)
    return "" if here or ENGINE_SOCKET.exists() else "docker.io"


def _remedy(error: str) -> str:
    if address := os.environ.get("DOCKER_HOST"):
        return f" at DOCKER_HOST={address}"
    if "Permission denied" in error:
        return "; as root: adduser NAME docker, then log in anew"
    package = engine_package()
    return f"; as root: {f'apt-get install {package}' if package else 'systemctl start docker'}"


def busybox() -> Path:
    """Find the busybox that the demo app's image is made of; SandboxError without a static one."""
    found = tools.program("busybox", BUSYBOX_PACKAGE)
    if INTERPRETER_SEGMENT in found.read_bytes()[:4096]:
        raise SandboxError(
            f"{found} is not a static one; as root: apt-get install {BUSYBOX_PACKAGE}"
        )
    return found


def reference(registry: Registry, name: str = NAME, tag: str = TAG) -> str:
    """Name an image as a worker pulls it."""
    return f"{registry.address}/{name}:{tag}"


def publish(
    client: docker.DockerClient, registry: Registry, name: str = NAME, tag: str = TAG
) -> str:
    """Build the demo app and push it, unless the registry has it; give its reference.

    The engine does not keep the image, so that a worker really pulls it.

    Raises:
        SandboxError: busybox-static is missing, engine or registry refuse the image.

    """
    from docker.errors import DockerException

    full = reference(registry, name, tag)
    try:
        if registry.with_login or not registry.has(name, tag):
            _build_and_push(client, registry, name, tag)
    except (DockerException, OSError) as error:
        raise SandboxError(f"{full} could not be built and pushed: {error}") from error
    return full


def _build_and_push(client: docker.DockerClient, registry: Registry, name: str, tag: str) -> None:
    changes = ['ENTRYPOINT ["/app/run.sh"]', f'LABEL {LABEL}="demo"', "WORKDIR /"]
    client.api.import_image_from_data(
        _file_system(), repository=f"{registry.address}/{name}", tag=tag, changes=changes
    )
    try:
        _push(client, registry, name, tag)
    finally:
        client.images.remove(reference(registry, name, tag))


def unpushed(registry: Registry, full: str) -> str:
    """Say that workers cannot pull an image, as far as this machine knows; empty otherwise.

    Two mistakes are seen: an image named after our registry that is not in it, and one that was
    built here and has no registry in its name.
    """
    path, _, tag = full.partition("@")[0].removeprefix(f"{registry.address}/").partition(":")
    if full.startswith(f"{registry.address}/"):
        with contextlib.suppress(OSError):
            if not registry.has(path, full.partition("@")[2] or tag or "latest"):
                return f"the registry has no {full}, push it: docker push {full}"
    elif _is_built_here(full):
        ours = f"{registry.address}/{full.rpartition('/')[2]}"
        return (
            f"{full} is in this machine's Docker engine only, and workers pull: "
            f"docker tag {full} {ours}; docker push {ours}; then buy a task of that one"
        )
    return ""


def _is_built_here(full: str) -> bool:
    """Tell whether the engine has an image that it neither pulled nor pushed."""
    from docker.errors import DockerException

    try:
        with contextlib.closing(engine()) as client:
            return not client.images.get(full).attrs.get("RepoDigests")
    except (SandboxError, DockerException, OSError):
        return False


def remove_pulled(client: docker.DockerClient, registry: Registry) -> None:
    """Take the images that came from a registry out of the engine.

    Others use the engine meanwhile, so what is listed may be gone at the next call.
    """
    from docker.errors import ImageNotFound

    for image in client.api.images():
        for full in image.get("RepoTags") or ():
            if full.startswith(f"{registry.address}/"):
                with contextlib.suppress(ImageNotFound):
                    client.images.remove(full, force=True)


def _push(client: docker.DockerClient, registry: Registry, name: str, tag: str) -> None:
    username, password = LOGIN
    # Given empty, no credential helper of this user's is asked about a registry of ours.
    login = {"username": username, "password": password} if registry.with_login else {}
    repository = f"{registry.address}/{name}"
    answers = client.api.push(repository, tag, stream=True, decode=True, auth_config=login)
    for answer in answers:
        _require_no_error(repository, answer)


def _require_no_error(repository: str, answer: Mapping[str, Any]) -> None:
    if "error" in answer:
        raise SandboxError(f"{repository} could not be pushed: {answer['error']}")


def _file_system() -> bytes:
    """Make the image's whole file system as a tar archive."""
    program = busybox()
    listed = subprocess.run([str(program), "--list"], check=True, capture_output=True, text=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for folder in ("app", "bin", "tmp", "etc"):
            _add(archive, folder, tarfile.DIRTYPE)
        _add(archive, "bin/busybox", data=program.read_bytes())
        _add(archive, "app/run.sh", data=SCRIPT.read_bytes())
        for applet in listed.stdout.split():
            if applet != "busybox":
                _add(archive, f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
    return content.getvalue()


def _add(
    archive: tarfile.TarFile,
    name: str,
    kind: bytes = tarfile.REGTYPE,
    *,
    data: bytes = b"",
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, 0o755, len(data), link
    archive.addfile(entry, io.BytesIO(data))
