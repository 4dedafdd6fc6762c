from __future__ import annotations

import pytest

from iexworker.outbox.evidence import Answer, answer_of


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("already known", Answer.TAKEN),
        ("AlreadyKnown", Answer.TAKEN),
        ("transaction already imported", Answer.TAKEN),
        ("Transaction with the same hash was already imported.", Answer.TAKEN),
        ("known transaction: 4a", Answer.TAKEN),
        ("unknown transaction type", Answer.REFUSED),
        ("nonce too low: next nonce 7, tx nonce 5", Answer.NONCE_SPENT),
        ("Transaction nonce is too low. Try incrementing the nonce.", Answer.NONCE_SPENT),
        ("OldNonce", Answer.NONCE_SPENT),
        ("insufficient funds for gas * price + value", Answer.POOR),
        ("Insufficient funds. The account you tried to send from", Answer.POOR),
        ("InsufficientFunds, Account balance: 0", Answer.POOR),
        ("replacement transaction underpriced", Answer.UNDERPRICED),
        ("transaction underpriced", Answer.UNDERPRICED),
        ("FeeTooLow, MaxFeePerGas too low", Answer.UNDERPRICED),
        ("ReplacementNotAllowed", Answer.UNDERPRICED),
        ("max fee per gas less than block base fee", Answer.UNDERPRICED),
        ("Transaction gas price 0 is too low. Try increasing the gas price.", Answer.UNDERPRICED),
        ("intrinsic gas too low", Answer.REFUSED),
        ("exceeds block gas limit", Answer.REFUSED),
    ],
)
def test_a_node_s_words_are_understood(words: str, answer: Answer) -> None:
    assert answer_of(words) is answer
