"""What the engine is told besides the app itself, so that an app cannot take the host down.

By default only the CPU weight and the OOM score, which an app's output does not depend on. All
else changes what apps can observe, and a worker whose output differs from its peers' loses the
consensus and its stake: the operator must ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docker.types import DeviceRequest

from iexworker.poco.models import Profile

if TYPE_CHECKING:
    from iexworker.settings.model import Settings

CPU_SHARES = 512
"""Half the weight of the host's own processes when both want the CPU."""

OOM_SCORE_ADJ = 500
"""Apps go before the worker and the host's services when the host's memory ends."""

_SGX_DEVICES = {
    "LEGACY": ("/dev/isgx",),
    "NATIVE": ("/dev/sgx/enclave", "/dev/sgx/provision"),
}


def host_options(settings: Settings, profile: Profile) -> dict[str, Any]:
    """Return the host options of a standard app's container, as the Docker SDK names them."""
    options: dict[str, Any] = {"cpu_shares": CPU_SHARES, "oom_score_adj": OOM_SCORE_ADJ}
    options |= _bounds(settings)
    if settings.app_network:
        options["network_mode"] = settings.app_network
    if settings.app_runtime:
        options["runtime"] = settings.app_runtime
    if settings.gpus_to_apps:
        options["device_requests"] = [gpu_request(settings.gpus_to_apps)]
    if profile is Profile.V8 and settings.sgx_driver_mode in _SGX_DEVICES:
        # A quirk of 8.x that its apps can see (docs/spec/06, section 7).
        devices = _SGX_DEVICES[settings.sgx_driver_mode]
        options["devices"] = [f"{device}:{device}:rwm" for device in devices]
    return options


def _bounds(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.no_new_privileges:
        options["security_opt"] = ["no-new-privileges"]
    if settings.app_memory_bytes is not None:
        options["mem_limit"] = settings.app_memory_bytes
        options["memswap_limit"] = settings.app_memory_bytes
    if settings.app_pids is not None:
        options["pids_limit"] = settings.app_pids
    if settings.app_cpu_quota is not None:
        options["nano_cpus"] = round(settings.app_cpu_quota * 1e9)
    return options


def gpu_request(gpus: str) -> DeviceRequest:
    """Return the device request for `all`, or for GPU numbers and UUIDs parted by commas."""
    text = gpus.strip()
    capabilities = [["gpu"]]
    if text == "all":
        return DeviceRequest(count=-1, capabilities=capabilities)
    identifiers = [item.strip() for item in text.split(",") if item.strip()]
    return DeviceRequest(device_ids=identifiers, capabilities=capabilities)
