"""The sequencer: checks a transaction, orders it at once, and answers when it is mined.

The texts and the order of the checks are those of nitro's `tx_pre_checker.go` and `sequencer.go`.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from iexworker.sandbox.arbitrum.l1 import Signed, intrinsic_gas, poster_gas
from iexworker.sandbox.arbitrum.switches import Answer, Slow, Switches
from iexworker.sandbox.arbitrum.upstream import Lost, RpcError, Upstream

INVALID_CODE = "0xfe"
"""The instruction that takes all gas there is."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a mined transaction paid besides its execution."""

    poster_gas: int
    base_fee_wei: int
    out_of_gas: bool


class Heads:
    """When each block was first seen, for nodes that are behind and tags that are."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._numbers: list[int] = []
        self._lock = threading.Lock()

    def see(self, number: int) -> None:
        """Note the newest block; one that is older than the last means that the chain was cut."""
        with self._lock:
            while self._numbers and self._numbers[-1] > number:
                self._numbers.pop()
                self._times.pop()
            if not self._numbers or self._numbers[-1] < number:
                self._times.append(time.monotonic())
                self._numbers.append(number)

    def before(self, seconds: float) -> int:
        """Give the newest block of that long ago, or the first one that was seen."""
        with self._lock:
            place = bisect.bisect_right(self._times, time.monotonic() - seconds)
            return self._numbers[max(0, place - 1)] if self._numbers else 0


class Sequencer:
    """Takes transactions, one after the other."""

    def __init__(
        self, node: Upstream, switches: Switches, clock: Callable[[], float] = time.time
    ) -> None:
        self._node = node
        self._switches = switches
        self._clock = clock
        self._mined = threading.Condition(threading.RLock())
        self.heads = Heads()
        self.charges: dict[str, Charge] = {}
        """Of the transactions mined here, by hash."""

    def begin(self) -> None:
        """Stop the node's own mining, and have a head with a base fee."""
        self._node.ask("evm_setAutomine", False)
        self._node.ask("evm_setIntervalMining", 0)
        self.mine()

    def set_base_fee(self, wei: int) -> None:
        """Have another base fee from the next block on, which somebody else's transaction makes."""
        self._switches.base_fee_wei = wei
        self.mine()

    def mine(self, timestamp: int | None = None) -> None:
        """Make one block."""
        with self._mined, self._node.alone():
            head = self._node.ask("eth_getBlockByNumber", "latest", False)
            earliest = int(head["timestamp"], 16) + (0 if self._switches.same_second else 1)
            now = int(self._clock() + self._switches.clock_shift_s)
            at = max(earliest, now) if timestamp is None else timestamp
            self._node.ask("anvil_setNextBlockBaseFeePerGas", hex(self._switches.base_fee_wei))
            if at == int(head["timestamp"], 16):
                self._node.ask("anvil_setBlockTimestampInterval", 0)
            else:
                self._node.ask("evm_setNextBlockTimestamp", at)
            self._node.ask("evm_mine")
            self._node.ask("anvil_removeBlockTimestampInterval")
            self.heads.see(int(self._node.ask("eth_blockNumber"), 16))
            self._mined.notify_all()

    def reorganise(self, blocks: int) -> None:
        """Take back the newest blocks: others come in their place, without the transactions."""
        with self._mined, self._node.alone():
            self._node.ask("anvil_reorg", blocks, [])
            head = int(self._node.ask("eth_blockNumber"), 16)
            self.heads.see(head - blocks)
            self.heads.see(head)

    def send(self, text: str) -> str:
        """Answer `eth_sendRawTransaction` when the transaction is in a block.

        Raises:
            RpcError: it is refused, or the sequencer is not there.
            Lost: there is no answer.

        """
        if self._switches.away:
            raise RpcError(self._switches.away_text)
        signed = Signed.decode(text)
        slow = self._switches.slowness
        if slow is None:
            return self._sequence(signed)
        return self._slowly(signed, slow)

    def _slowly(self, signed: Signed, slow: Slow) -> str:
        time.sleep(slow.delay_s)
        refused: RpcError | None = None
        if slow.mined:
            try:
                self._sequence(signed)
            except RpcError as error:
                refused = error
        if slow.answer is Answer.SILENCE:
            raise Lost
        if slow.answer is Answer.ERROR or not slow.mined:
            raise RpcError("context deadline exceeded")
        if refused is not None:
            raise refused
        return signed.tx_hash

    def _sequence(self, signed: Signed) -> str:
        with self._mined:
            self._check_price(signed)
            self._check_nonce(signed)
            poster = poster_gas(signed.raw, self._switches.l1_price) if self._switches.l1_gas else 0
            self._check_gas(signed, poster)
            self._check_funds(signed)
            self._execute(signed, poster)
        return signed.tx_hash

    def _check_price(self, signed: Signed) -> None:
        base_fee = self._switches.base_fee_wei
        if self._switches.prices and signed.max_price_wei < base_fee:
            raise RpcError(
                f"max fee per gas less than block base fee: address {signed.sender}, "
                f"maxFeePerGas: {signed.max_price_wei} baseFee: {base_fee}"
            )

    def _check_nonce(self, signed: Signed) -> None:
        if not self._switches.nonces:
            return
        deadline = time.monotonic() + self._switches.nonce_wait_s
        while (state := self._nonce(signed.sender)) < signed.nonce:
            left = deadline - time.monotonic()
            if left <= 0:
                raise RpcError(_nonce_words("high", signed, state))
            self._mined.wait(left)
        if state > signed.nonce:
            raise RpcError(_nonce_words("low", signed, state))

    def _check_gas(self, signed: Signed, poster: int) -> None:
        if signed.gas < poster + intrinsic_gas(signed.data, creates=signed.to is None):
            raise RpcError("intrinsic gas too low")

    def _check_funds(self, signed: Signed) -> None:
        have = int(self._node.ask("eth_getBalance", signed.sender, "latest"), 16)
        want = signed.gas * signed.max_price_wei + signed.value_wei
        if self._switches.funds and have < want:
            raise RpcError(
                "insufficient funds for gas * price + value: "
                f"address {signed.sender} have {have} want {want}"
            )

    def _execute(self, signed: Signed, poster: int) -> None:
        with self._node.alone():
            starved = self._runs_out(signed, poster)
            code = self._node.ask("eth_getCode", signed.to, "latest") if starved else ""
            self._node.ask("eth_sendRawTransaction", "0x" + signed.raw.hex())
            if starved:
                self._node.ask("anvil_setCode", signed.to, INVALID_CODE)
            try:
                self.mine()
            finally:
                if starved:
                    self._node.ask("anvil_setCode", signed.to, code)
                    self.mine()  # the block before keeps the changed code for those who read it
            charge = Charge(poster, self._switches.base_fee_wei, starved)
            self.charges[signed.tx_hash] = charge
            self._settle(signed, charge)

    def _runs_out(self, signed: Signed, poster: int) -> bool:
        """Whether what is left of the limit is too little to execute."""
        if signed.to is None or self._node.ask("eth_getCode", signed.to, "latest") == "0x":
            return False
        if self._switches.out_of_gas > 0:
            self._switches.out_of_gas -= 1
            return True
        if not poster:
            return False
        try:
            needed = int(self._node.ask("eth_estimateGas", signed.call(), "latest"), 16)
        except RpcError:
            return False  # it reverts, with any gas
        return needed > signed.gas - poster

    def _settle(self, signed: Signed, charge: Charge) -> None:
        """Charge the base fee alone, as tips are dropped there, and the gas for L1."""
        receipt = self._node.ask("eth_getTransactionReceipt", signed.tx_hash)
        if receipt is None:
            return
        used, paid = int(receipt["gasUsed"], 16), int(receipt["effectiveGasPrice"], 16)
        owed = (total_gas(used, charge)) * charge.base_fee_wei
        have = int(self._node.ask("eth_getBalance", signed.sender, "latest"), 16)
        self._node.ask("anvil_setBalance", signed.sender, hex(max(0, have + used * paid - owed)))

    def _nonce(self, address: str) -> int:
        return int(self._node.ask("eth_getTransactionCount", address, "latest"), 16)


def total_gas(used: int, charge: Charge) -> int:
    """Give the gas used with the part for L1; one that ran out has used its limit, no more."""
    return used if charge.out_of_gas else used + charge.poster_gas


def _nonce_words(which: str, signed: Signed, state: int) -> str:
    return f"nonce too {which}: address {signed.sender}, tx: {signed.nonce} state: {state}"
