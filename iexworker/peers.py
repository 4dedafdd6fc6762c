"""What an operator reads of a peer that does not serve, in one shape for all of them.

    chain node https://node.example (SETTING): eth_chainId: connection refused; check the node

Which peer at which address, the setting that the address comes from, what was tried, what came
back (error_words.py), what to do.
"""

from __future__ import annotations

import http
import re
from dataclasses import dataclass

from iexworker import error_words, http_environment
from iexworker.http_environment import spoken_url
from iexworker.masking import masked_address

NODE_SETTING = "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS"

_ASK_MANAGER = "ask the pool's manager whether it runs"
_ASK_WHY = "ask the pool's manager why"
_PATH = re.compile(r"[/?#]")


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a call is for, as an operator knows it."""

    name: str
    address: str
    """As it is set; it may carry secrets, which are not shown."""
    setting: str
    """Where the address comes from."""
    remedy: str
    """What to do where nothing better is known."""
    refusal: str = ""
    """What to do about a refusal (a status from 400 to 499)."""

    def told(self, tried: str, came: str, todo: str = "") -> str:
        """Return the whole message."""
        where = f"{self.name} {shown(self.address)} ({self.setting})"
        return f"{where}: {tried}{way_to(self.address)}: {came}; {todo or self.remedy}"

    def failed(self, tried: str, error: BaseException) -> str:
        """Return the message for a call that brought no answer."""
        came, todo = error_words.explained(error, self.address, self.setting)
        return self.told(tried, came, todo)

    def answered(self, tried: str, status: int, words: str = "") -> str:
        """Return the message for a status that is no success, `words` are the peer's."""
        if error_words.asks_for_tls(words):
            todo = error_words.with_tls(self.address, self.setting)
            return self.told(tried, f"answered {status}: it wants TLS", todo)
        came = f"answered {status} {_phrase(status)}".strip() + (f": {words}" if words else "")
        proxy = http_environment.proxy_of_url(spoken_url(self.address))
        if status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and proxy is not None:
            return self.told(tried, came, error_words.with_login(proxy.variable))
        if status == http.HTTPStatus.NOT_FOUND:
            return self.told(tried, came, f"is that the address of a {self.name}?")
        return self.told(tried, came, self.refusal if status < 500 else "")


def scheduler(address: str) -> Peer:
    """Return the scheduler."""
    remedy = f"check the address, or {_ASK_MANAGER}"
    return Peer("scheduler", address, "IEXEC_CORE_URL", remedy, _ASK_WHY)


def configuration_server(address: str) -> Peer:
    """Return the server of the chain's configuration."""
    setting = "the scheduler's configServerUrl"
    return Peer("configuration server", address, setting, _ASK_MANAGER, _ASK_WHY)


def result_proxy(address: str, *, of_deal: bool = False) -> Peer:
    """Return the result proxy, the pool's or one that a deal names."""
    if of_deal:
        setting = "the deal's iexec_result_storage_proxy"
        return Peer("result proxy", address, setting, "nothing to do: the requester chose it")
    setting = "the scheduler's resultRepositoryURL"
    return Peer("result proxy", address, setting, _ASK_MANAGER, _ASK_WHY)


def chain_node(address: str, *, of_pool: bool = False) -> Peer:
    """Return the chain node, the pool's or the operator's own."""
    if of_pool:
        remedy = f"set {NODE_SETTING} to a node that answers"
        return Peer("chain node", address, "the pool's chainNodeUrl", remedy)
    remedy = "check the node, or set another"
    return Peer("chain node", address, NODE_SETTING, remedy, f"is its access key right? {remedy}")


def docker_engine(address: str) -> Peer:
    """Return the Docker engine."""
    return Peer("Docker engine", address, "DOCKER_HOST", "start Docker, or correct DOCKER_HOST")


def way_to(address: str) -> str:
    """Return ` through HTTP_PROXY http://...` for an address that a proxy stands before."""
    proxy = http_environment.proxy_of_url(spoken_url(address))
    return "" if proxy is None else f" through {proxy.variable} {shown(proxy.url)}"


def shown(address: str) -> str:
    """Return an address as it may be seen: masked, and without its path, which may be a key."""
    scheme, separator, rest = address.partition("://")
    if scheme == "unix" or not separator:
        return address
    host, *path = _PATH.split(rest.rpartition("@")[2], maxsplit=1)
    return masked_address(f"{scheme}://{host}") + ("/***" if any(path) else "")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
