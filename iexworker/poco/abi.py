"""The contracts' functions and events as the worker uses them, pure (05, sections 2 and 4.1).

Addresses, hashes and identifiers leave here as lower-case texts with 0x.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from iexworker.errors import ChainError
from iexworker.poco import hashing
from iexworker.poco.models import (
    ZERO_ADDRESS,
    Category,
    ChainAccount,
    ChainTask,
    Contributed,
    Contribution,
    ContributionStatus,
    Deal,
    Resource,
    TaskStatus,
)

VIEW_DEAL = "viewDeal(bytes32)"
VIEW_TASK = "viewTaskABILegacy(bytes32)"
VIEW_CONTRIBUTION = "viewContributionABILegacy(bytes32,address)"
VIEW_ACCOUNT = "viewAccountABILegacy(address)"
VIEW_CATEGORY = "viewCategoryABILegacy(uint256)"
CALLBACK_GAS = "callbackgas()"
TEE_BROKER = "teebroker()"
OWNER = "owner()"
APP_TYPE = "m_appType()"
APP_MULTIADDR = "m_appMultiaddr()"
APP_ENCLAVE = "m_appMREnclave()"
DATASET_MULTIADDR = "m_datasetMultiaddr()"
DATASET_CHECKSUM = "m_datasetChecksum()"
IS_VALID_SIGNATURE = "isValidSignature(bytes32,bytes)"
CONTRIBUTE = "contribute(bytes32,bytes32,bytes32,address,bytes,bytes)"
REVEAL = "reveal(bytes32,bytes32)"
CONTRIBUTE_AND_FINALIZE = "contributeAndFinalize(bytes32,bytes32,bytes,bytes,address,bytes,bytes)"

_RESOURCE = "(address,address,uint256)"
# Fifteen components, without the sponsor that contracts have since 5.5: offsets are relative to
# the tuple, so this reads both generations; sixteen would read an old answer's sponsor wrong.
_DEAL = (
    f"({_RESOURCE},{_RESOURCE},{_RESOURCE},uint256,uint256,bytes32,address,address,address,bytes,"
    "uint256,uint256,uint256,uint256,uint256)"
)
# Texts are declared as bytes, which have the same encoding: a string that is no UTF-8 would not
# decode at all, and the Java workers read it with replacement characters.
_RETURNS: Mapping[str, list[str]] = {
    VIEW_DEAL: [_DEAL],
    VIEW_TASK: [
        *("uint8", "bytes32", "uint256", "uint256", "uint256", "uint256", "uint256", "bytes32"),
        *("uint256", "uint256", "address[]", "bytes"),
    ],
    VIEW_CONTRIBUTION: ["uint8", "bytes32", "bytes32", "address"],
    VIEW_ACCOUNT: ["uint256", "uint256"],
    VIEW_CATEGORY: ["bytes", "bytes", "uint256"],
    CALLBACK_GAS: ["uint256"],
    TEE_BROKER: ["address"],
    OWNER: ["address"],
    APP_TYPE: ["bytes"],
    APP_MULTIADDR: ["bytes"],
    APP_ENCLAVE: ["bytes"],
    DATASET_MULTIADDR: ["bytes"],
    DATASET_CHECKSUM: ["bytes32"],
    IS_VALID_SIGNATURE: ["bytes4"],
}
_ZERO_BYTES32 = bytes(32)

_Status = TypeVar("_Status", TaskStatus, ContributionStatus)


def calldata(signature: str, *arguments: object) -> bytes:
    """Return selector and encoded arguments; hex texts stand for bytes and addresses."""
    types = [name for name in signature.partition("(")[2][:-1].split(",") if name]
    values = [_plain(kind, value) for kind, value in zip(types, arguments, strict=True)]
    return hashing.keccak(signature.encode("ascii"))[:4] + encode(types, values)


def _plain(kind: str, value: object) -> object:
    if kind.startswith("bytes") and isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    return value


def contribute(
    task_id: str,
    wallet: str,
    digest: str,
    authorization: str,
    *,
    challenge: str = ZERO_ADDRESS,
    enclave_signature: str = "0x" + "00" * 32,
) -> bytes:
    """Return the input of `contribute`; a standard task has no challenge and signs zeros (4.1)."""
    return calldata(
        CONTRIBUTE,
        task_id,
        hashing.result_hash(task_id, digest),
        hashing.result_seal(wallet, task_id, digest),
        challenge,
        enclave_signature,
        authorization,
    )


def contributed(data: str) -> Contributed | None:
    """Read the input of a `contribute`; None for the input of anything else."""
    raw = hashing.lenient_bytes(data)
    if raw[:4] != hashing.keccak(CONTRIBUTE.encode("ascii"))[:4]:
        return None
    types = CONTRIBUTE.partition("(")[2][:-1].split(",")
    try:
        task_id, _, _, challenge, _, signature = decode(types, raw[4:])
    except (DecodingError, OverflowError):
        return None
    return Contributed(hashing.hex_text(task_id), challenge.lower(), hashing.hex_text(signature))


def reveal(task_id: str, digest: str) -> bytes:
    """Return the input of `reveal` (4.1)."""
    return calldata(REVEAL, task_id, digest)


def values(signature: str, answer: object) -> tuple[Any, ...]:
    """Decode the answer of an `eth_call`; raises `ChainError` for an empty or unfit one."""
    if not isinstance(answer, str) or len(answer) <= 2:
        raise ChainError(f"{signature}: empty answer; is there such a contract at this address?")
    try:
        return decode(_RETURNS[signature], bytes.fromhex(answer.removeprefix("0x")))
    except (DecodingError, ValueError, OverflowError) as error:
        raise ChainError(f"{signature}: an answer of another shape ({error})") from None


def task(answer: object) -> ChainTask | None:
    """Decode `viewTaskABILegacy`; None for a task that the contract does not know (3.1)."""
    found = values(VIEW_TASK, answer)
    if found[1] == _ZERO_BYTES32:
        return None
    deal_id = hashing.hex_text(found[1])
    return ChainTask(
        task_id=hashing.task_id(deal_id, found[2]),
        status=_status(TaskStatus, found[0], VIEW_TASK),
        deal_id=deal_id,
        index=found[2],
        time_reference_s=found[3],
        contribution_deadline_s=found[4],
        reveal_deadline_s=found[5],
        final_deadline_s=found[6],
        consensus=hashing.hex_text(found[7]),
        reveal_counter=found[8],
        winner_counter=found[9],
        contributors=tuple(address.lower() for address in found[10]),
        results=hashing.hex_text(found[11]),
    )


def deal(answer: object) -> Deal | None:
    """Decode `viewDeal`; None for a deal that the contract does not know (3.2)."""
    (found,) = values(VIEW_DEAL, answer)
    if found[10] == 0:
        return None
    app, dataset, workerpool = (
        Resource(address.lower(), owner.lower(), price) for address, owner, price in found[:3]
    )
    return Deal(
        app=app,
        dataset=dataset,
        workerpool=workerpool,
        trust=found[3],
        category=found[4],
        tag=hashing.hex_text(found[5]),
        requester=found[6].lower(),
        beneficiary=found[7].lower(),
        callback=found[8].lower(),
        params=_utf8(found[9]),
        start_time_s=found[10],
        bot_first=found[11],
        bot_size=found[12],
        worker_stake=found[13],
        scheduler_reward_ratio=found[14],
    )


def contribution(answer: object) -> Contribution:
    """Decode `viewContributionABILegacy`; one that was never made is UNSET (3.7)."""
    status, result_hash, result_seal, challenge = values(VIEW_CONTRIBUTION, answer)
    return Contribution(
        _status(ContributionStatus, status, VIEW_CONTRIBUTION),
        hashing.hex_text(result_hash),
        hashing.hex_text(result_seal),
        challenge.lower(),
    )


def account(answer: object) -> ChainAccount:
    """Decode `viewAccountABILegacy`."""
    return ChainAccount(*values(VIEW_ACCOUNT, answer))


def category(answer: object) -> Category:
    """Decode `viewCategoryABILegacy`."""
    name, description, time_reference_s = values(VIEW_CATEGORY, answer)
    return Category(_utf8(name), _utf8(description), time_reference_s)


def address(signature: str, answer: object) -> str:
    """Decode a function that returns one address."""
    found: str = values(signature, answer)[0]
    return found.lower()


def text(signature: str, answer: object) -> str:
    """Decode a function that returns one text, or bytes read as one (3.4)."""
    return _utf8(values(signature, answer)[0])


def bytes32(signature: str, answer: object) -> str:
    """Decode a function that returns one bytes32."""
    return hashing.hex_text(values(signature, answer)[0])


def location(signature: str, answer: object) -> str:
    """Decode a function that returns where an asset is: a binary multiaddr or a text (3.4)."""
    return multiaddr_text(values(signature, answer)[0])


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _status(kind: type[_Status], value: int, what: str) -> _Status:
    try:
        return kind(value)
    except ValueError:
        raise ChainError(f"{what}: unknown status {value}") from None


_IPFS = b"\xa5\x03"  # protocol 421, as a varint
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def multiaddr_text(data: bytes) -> str:
    """Return `/ipfs/<hash>` for a binary IPFS multiaddr, else the bytes as UTF-8."""
    if data[:2] == _IPFS and len(data) > 3 and data[2] == len(data) - 3:
        return "/ipfs/" + base58(data[3:])
    return data.decode("utf-8", "replace")


def base58(data: bytes) -> str:
    """Return the bytes in Bitcoin's base 58; each leading zero byte is a `1`."""
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits
