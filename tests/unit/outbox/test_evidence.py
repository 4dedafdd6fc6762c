from __future__ import annotations

import pytest

from iexworker.outbox.evidence import BroadcastAnswer, answer_of


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("already known", BroadcastAnswer.TAKEN),
        ("AlreadyKnown", BroadcastAnswer.TAKEN),
        ("transaction already imported", BroadcastAnswer.TAKEN),
        ("Transaction with the same hash was already imported.", BroadcastAnswer.TAKEN),
        ("known transaction: 4a", BroadcastAnswer.TAKEN),
        ("unknown transaction type", BroadcastAnswer.REFUSED),
        ("nonce too low: next nonce 7, tx nonce 5", BroadcastAnswer.NONCE_SPENT),
        ("Transaction nonce is too low. Try incrementing the nonce.", BroadcastAnswer.NONCE_SPENT),
        ("OldNonce", BroadcastAnswer.NONCE_SPENT),
        ("insufficient funds for gas * price + value", BroadcastAnswer.POOR),
        ("Insufficient funds. The account you tried to send from", BroadcastAnswer.POOR),
        ("InsufficientFunds, Account balance: 0", BroadcastAnswer.POOR),
        ("replacement transaction underpriced", BroadcastAnswer.UNDERPRICED),
        ("transaction underpriced", BroadcastAnswer.UNDERPRICED),
        ("FeeTooLow, MaxFeePerGas too low", BroadcastAnswer.UNDERPRICED),
        ("ReplacementNotAllowed", BroadcastAnswer.UNDERPRICED),
        ("max fee per gas less than block base fee", BroadcastAnswer.UNDERPRICED),
        (
            "Transaction gas price 0 is too low. Try increasing the gas price.",
            BroadcastAnswer.UNDERPRICED,
        ),
        ("intrinsic gas too low", BroadcastAnswer.SHORT_OF_GAS),
        ("intrinsic gas too low (supplied gas 100000)", BroadcastAnswer.SHORT_OF_GAS),
        ("IntrinsicGas, gas limit too low", BroadcastAnswer.SHORT_OF_GAS),
        ("gas required exceeds allowance (100000)", BroadcastAnswer.SHORT_OF_GAS),
        ("out of gas", BroadcastAnswer.SHORT_OF_GAS),
        ("Transaction gas limit is too low", BroadcastAnswer.SHORT_OF_GAS),
        ("exceeds block gas limit", BroadcastAnswer.REFUSED),
    ],
)
def test_a_node_s_words_are_understood(words: str, answer: BroadcastAnswer) -> None:
    assert answer_of(words) is answer
