"""Sends transactions that must take effect exactly once, whatever crashes in between.

An action is journalled, then its signed bytes with nonce and hash, then these bytes are broadcast,
and broadcast again, until the chain has decided. `step` is one pass and waits for no receipt.
What is decided, and why, is in `verdict.py`, and in `plan.py` or `plan_without_pool.py`; here it is
journalled and done.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from iexworker.errors import ChainError
from iexworker.outbox import plan, plan_without_pool, verdict
from iexworker.outbox.actions import (
    FREE,
    Action,
    ActionFailed,
    ActionMined,
    ActionState,
    OutboxEntry,
    Pace,
    Result,
    Tally,
    Transaction,
    TransactionState,
)
from iexworker.outbox.event_log import EventLog
from iexworker.outbox.evidence import BroadcastAnswer, Evidence, Node, Position
from iexworker.outbox.gas import PriceRule
from iexworker.outbox.ledger import Ledger
from iexworker.outbox.memory import Memory
from iexworker.outbox.plan import alive
from iexworker.outbox.situation import WATCH_BLOCKS, ChainFacts, Policy, by_owner
from iexworker.outbox.transaction import Draft, hash_of
from iexworker.poco.models import ActionKind, ChainConfiguration, Head
from iexworker.wallet import Wallet

EVIDENCE_TRIES = 3
"""Looks at evidence until one comes from a node that is not late."""


class Outbox:
    """The one sender of a wallet's transactions. To be used from one thread."""

    def __init__(
        self,
        node: Node,
        ledger: Ledger,
        wallet: Wallet,
        configuration: ChainConfiguration,
        rule: PriceRule,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._ledger = ledger
        self._wallet = wallet
        self._configuration = configuration
        self._policy = Policy(rule, configuration.block_time_s)
        self._clock = clock
        self._monotonic = monotonic
        self._results: list[Result] = []
        self._ended: Counter[TransactionState] = Counter()
        self._spent_wei = 0
        self._memory = Memory(monotonic)
        self._event_log = EventLog()
        self._watch_from = ledger.newest_block() - WATCH_BLOCKS
        self._passed_at = -math.inf

    def submit(self, action: Action) -> None:
        """Journal an action to be done; it is on disk when this returns.

        To submit it again is harmless: one that is done or failed gives its result again. A failed
        one is taken up anew when it comes with other calldata or a later deadline.
        """
        entry = self._ledger.entry(action.key)
        if entry is None or self._superseded(entry, action):
            self._ledger.add(action)
            self._event_log.wanted(action.key)
        elif entry.state is not ActionState.OPEN:
            self._results.append(_result(entry))
        elif entry.action.deadline_s != action.deadline_s:
            self._ledger.set_deadline(action)

    def _superseded(self, entry: OutboxEntry, action: Action) -> bool:
        same = entry.action.calldata == action.calldata
        if entry.state is ActionState.FAILED:
            return not same or entry.action.deadline_s < action.deadline_s
        if entry.state is ActionState.DONE or (same and not entry.abandoned):
            return False
        # What is signed runs its course first.
        return not self._ledger.in_flight(action.key)

    def abandon(self, task_id: str, kind: ActionKind) -> None:
        """Say that an action is no longer wanted.

        What is signed may still be mined: the result tells, once the nonce is spent.
        """
        self._ledger.abandon((task_id, kind))

    @property
    def busy(self) -> bool:
        """Whether anything is under way: an action undecided, or a nonce to be freed."""
        return bool(self._ledger.open_entries()) or self._ledger.pending() > 0

    @property
    def pace(self) -> Pace:
        """How soon to make the next pass."""
        if self.busy:
            return Pace.BUSY
        watched = self._watched(self._ledger.transactions(self._watch_from))
        return Pace.WATCHFUL if watched else Pace.IDLE

    @property
    def tally(self) -> Tally:
        """What became of the transactions since this outbox was made."""
        return Tally(
            success=self._ended[TransactionState.MINED],
            failure=self._ended[TransactionState.REVERTED],
            replaced=self._ended[TransactionState.VOID],
            pending=self._ledger.pending(),
            spent_wei=self._spent_wei,
        )

    def entry(self, task_id: str, kind: ActionKind) -> OutboxEntry | None:
        """Return where an action stands, None when it was never submitted."""
        return self._ledger.entry((task_id, kind))

    def forget(self, task_id: str) -> None:
        """Drop what is kept of a task that has ended; what was not signed for it never will be."""
        for entry in self._ledger.open_entries():
            if entry.action.task_id == task_id:
                self.abandon(task_id, entry.action.kind)
        self._ledger.forget(task_id)

    def step(self) -> list[Result]:
        """Make one pass and return what it decided; it may take some round trips, no longer.

        Raises `ChainError` when the node cannot be read (nothing is lost, call again later) and
        `JournalError`.
        """
        entries = self._ledger.open_entries()
        transactions = self._ledger.transactions(self._watch_from)
        if entries or self._due(transactions):
            self._forget_all_but(entries, transactions)
            self._pass(entries, transactions)
        results, self._results = self._results, []
        return results

    def _due(self, transactions: Sequence[Transaction]) -> bool:
        """Tell whether a pass is worth it; what is mined is looked at once a block."""
        if any(item.state in FREE for item in transactions):
            return True
        elapsed_s = self._monotonic() - self._passed_at
        return bool(self._watched(transactions)) and elapsed_s >= self._watch_every_s()

    def _watched(self, transactions: Sequence[Transaction]) -> list[Transaction]:
        """Return the transactions of which one more look may tell something.

        Without a pool: a reveal for as long as its task is kept, another until it was seen twice.
        """
        if self._policy.has_pool:
            return list(transactions)
        return [
            item
            for item in transactions
            if not self._memory.seen_twice(item.tx_hash)
            or (item.owner is not None and item.owner[1] is ActionKind.REVEAL)
        ]

    def _watch_every_s(self) -> float:
        """Return the pause between two looks at what is mined; without a pool a growing one."""
        return self._policy.block_time_s if self._policy.has_pool else self._memory.look_every_s

    def _pass(self, entries: Sequence[OutboxEntry], transactions: Sequence[Transaction]) -> None:
        position = self._node.position()
        self._compare_chain(position.chain_id)
        if position.head.has_pool is not self._policy.has_pool:
            self._policy = replace(self._policy, has_pool=position.head.has_pool)
        facts = self._facts(position, entries, transactions)
        self._passed_at = self._monotonic()
        self._watch_from = facts.head.number - self._policy.watch_blocks
        fates = list(verdict.fates(transactions, facts, self._policy))
        reopened = self._reopen(transactions, fates)
        transactions = self._settle(transactions, fates)
        self._spent_wei += _cost_wei(fates, facts)
        if reopened:
            return  # the facts were read without these actions
        entries = self._judge(entries, transactions, facts)
        if not self._policy.has_pool:
            transactions = self._settle(
                transactions, list(plan_without_pool.dropped(entries, transactions, facts))
            )
        planned = plan.moves if self._policy.has_pool else plan_without_pool.moves
        for move in planned(entries, transactions, facts, self._policy):
            if not self._do(move, facts.head) and not self._policy.has_pool:
                return  # what has a higher nonce would be refused for it

    def _forget_all_but(
        self, entries: Sequence[OutboxEntry], transactions: Sequence[Transaction]
    ) -> None:
        hashes = {item.tx_hash for item in transactions}
        self._memory.forget_all_but(hashes)
        self._event_log.keep_only(hashes | {entry.action.task_id for entry in entries})

    def _compare_chain(self, chain_id: int) -> None:
        wanted = self._configuration.chain_id
        if chain_id != wanted:
            raise ChainError(
                f"the node is on chain {chain_id}, the pool on {wanted}: nothing is signed; "
                "give the worker a node of that chain"
            )

    def _facts(
        self,
        position: Position,
        entries: Sequence[OutboxEntry],
        transactions: Sequence[Transaction],
    ) -> ChainFacts:
        owned = by_owner(transactions)
        trials = [
            entry.action
            for entry in entries
            if all(self._memory.signable_anew(item) for item in owned[entry.action.key])
        ]
        watched = [item for item in transactions if item.state is not TransactionState.VOID]
        tasks = sorted({entry.action.task_id for entry in entries})
        evidence = self._evidence(position, [item.tx_hash for item in watched], tasks, trials)
        self._memory.look(evidence, position.nonces, watched, alive(entries))
        return ChainFacts(
            wallet=self._wallet.address,
            now_s=self._clock(),
            head=position.head,
            nonces=position.nonces,
            network_wei=position.network_wei,
            receipts=evidence.receipts,
            known=evidence.known,
            contributions=evidence.contributions,
            top_nonce=self._ledger.top_nonce(),
            settled_nonce=self._ledger.settled_nonce(),
            refusals=evidence.refusals,
            refused_s=self._memory.refused_s,
            spent_s=self._memory.spent_s,
            tried_s=self._memory.tried_s,
            underpriced=frozenset(self._memory.underpriced),
            refused_for_gas=frozenset(self._memory.refused_for_gas),
            estimates=evidence.estimates,
            unheld=dict(self._memory.unheld),
            ownerless_s=self._memory.ownerless_s,
            mined_s=self._memory.mined_s,
        )

    def _evidence(
        self,
        position: Position,
        hashes: Sequence[str],
        tasks: Sequence[str],
        trials: Sequence[Action],
    ) -> Evidence:
        """Read evidence that is no older than the newest block seen (docs/spec/11, 1.7).

        Behind one address stand nodes with different heads: a late one's is asked again.
        """
        newest = self._memory.newest_block(position.head)
        for _ in range(EVIDENCE_TRIES):
            evidence = self._node.evidence(hashes, tasks, trials)
            number = evidence.head_number
            if number is None or number >= newest:
                return evidence
        raise ChainError(f"the node answers for block {number}, and block {newest} exists")

    def _settle(
        self, transactions: Sequence[Transaction], fates: Sequence[verdict.Fate]
    ) -> list[Transaction]:
        """Journal what became of transactions and return them as they stand now."""
        current = {item.tx_hash: item for item in transactions}
        for fate in fates:
            before = current[fate.tx_hash]
            self._ledger.settle(fate.tx_hash, fate.state, fate.block_number)
            current[fate.tx_hash] = replace(
                before, state=fate.state, block_number=fate.block_number
            )
            self._ended[fate.state] += 1
            self._event_log.fate(before, fate)
        return list(current.values())

    def _reopen(self, transactions: Sequence[Transaction], fates: Sequence[verdict.Fate]) -> bool:
        """Open the done actions again whose transaction is not mined as it was."""
        changed = {fate.tx_hash for fate in fates}
        owners = {
            item.owner
            for item in transactions
            if item.owner and item.state is TransactionState.MINED and item.tx_hash in changed
        }
        return any([self._ledger.reopen(owner) for owner in owners])

    def _judge(
        self, entries: Sequence[OutboxEntry], transactions: Sequence[Transaction], facts: ChainFacts
    ) -> list[OutboxEntry]:
        """Close the actions that the chain has decided and return those that are still open."""
        owned = by_owner(transactions)
        still_open: list[OutboxEntry] = []
        for entry in entries:
            decision = verdict.verdict(entry, owned[entry.action.key], facts, self._policy)
            if decision is None:
                still_open.append(entry)
                if entry.action.key in facts.refusals:
                    self._event_log.would_revert(entry, facts.refusals[entry.action.key])
                continue
            closed = self._closed(entry, decision)
            self._ledger.close(closed)
            self._results.append(_result(closed, decision))
            self._event_log.closed(closed)
        return still_open

    def _closed(self, entry: OutboxEntry, decision: verdict.Done | verdict.Over) -> OutboxEntry:
        if isinstance(decision, verdict.Over):
            return replace(
                entry, state=ActionState.FAILED, cause=decision.cause, text=decision.text
            )
        action = entry.action
        receipt = decision.receipt or self._node.locate(action.kind, action.task_id)
        return replace(entry, state=ActionState.DONE, receipt=receipt)

    def _do(self, move: plan.Move, head: Head) -> bool:
        """Sign and send, or send again; returns whether the node took it."""
        if isinstance(move, plan.Sign):
            return self._send(self._signed(move), head)
        if move.at_cap:
            self._event_log.at_cap(move.transaction)
        return self._send(move.transaction, head)

    def _signed(self, move: plan.Sign) -> Transaction:
        """Sign and journal; the bytes are on disk when this returns, and nobody has them yet."""
        action = move.entry.action if move.entry else None
        raw = Draft(
            nonce=move.nonce,
            gas_price_wei=move.gas_price_wei,
            gas_limit=move.gas_limit,
            to=self._configuration.hub_address if action else self._wallet.address,
            data=action.calldata if action else b"",
            chain_id=self._configuration.chain_id,
        ).signed(self._wallet)
        owner = action.key if action else None
        transaction = Transaction(hash_of(raw), move.nonce, owner, move.gas_price_wei, raw)
        self._ledger.sign(transaction)
        for former in move.instead_of:
            self._ledger.settle(former.tx_hash, TransactionState.VOID, None)
        self._event_log.signed(transaction)
        return transaction

    def _send(self, transaction: Transaction, head: Head) -> bool:
        """Broadcast journalled bytes, tell whether the node took them; the next pass goes on."""
        tx_hash = transaction.tx_hash
        self._memory.sending(tx_hash)
        try:
            answer, words = self._node.broadcast(transaction.raw)
        except ChainError as error:
            if not head.has_pool:
                self._memory.tried(tx_hash)  # looked for before it goes again
            self._event_log.unanswered(transaction, str(error))
            return False
        self._memory.answered(tx_hash, answer, has_pool=head.has_pool)
        if answer is BroadcastAnswer.TAKEN:
            self._ledger.sent(tx_hash, head.timestamp_s)
            return True
        self._event_log.refused(transaction, answer, words)
        return False


def _result(entry: OutboxEntry, decision: verdict.Done | verdict.Over | None = None) -> Result:
    """Return how an action ended; what it has cost is known at its decision alone."""
    action = entry.action
    if entry.state is not ActionState.DONE:
        return ActionFailed(action.task_id, action.kind, entry.cause, entry.text)
    done = decision if isinstance(decision, verdict.Done) else verdict.Done(entry.receipt)
    return ActionMined(action.task_id, action.kind, entry.receipt, done.gas_used, done.cost_wei)


def _cost_wei(fates: Sequence[verdict.Fate], facts: ChainFacts) -> int:
    """Return what the transactions that were just seen in a block have cost."""
    receipts = (facts.receipts.get(fate.tx_hash) for fate in fates)
    return sum(receipt.cost_wei or 0 for receipt in receipts if receipt is not None)
