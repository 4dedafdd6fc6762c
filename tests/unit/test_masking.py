"""What is hidden of an address, whatever it looks like (examples: tests/field/test_masking.py)."""

from __future__ import annotations

import string

from hypothesis import example, given
from hypothesis import strategies as st

from iexworker.masking import HIDDEN, masked, masked_address

SECRET = st.text(string.ascii_letters + string.digits + "-_", min_size=20, max_size=70).map(
    lambda text: f"S3cret{text}"
)


@given(st.text())
@example("://")
@example("a://@")
@example("http://h/v3/")
@example("with url: /")
def test_any_text_is_masked_once_and_for_all(text: str) -> None:
    for mask in (masked, masked_address):
        assert mask(mask(text)) == mask(text)


@given(SECRET)
def test_a_secret_in_any_of_its_places_is_hidden(secret: str) -> None:
    for address in (
        f"http://{secret}@h.example/",
        f"https://user:{secret}@h.example:8545/x?y=z",
        f"https://h.example/v2/{secret}",
        f"https://h.example/{secret}/ext/bc/C/rpc",
        f"https://h.example/rpc?{secret}",
        f"https://h.example/rpc?key={secret}&a=b",
        f"https://h.example/rpc#{secret}",
        f"wss://h.example/ws/v3/{secret}/",
    ):
        for shown in (masked(f"POST {address}: refused"), masked_address(address)):
            assert secret not in shown
            assert "h.example" in shown
            assert HIDDEN in shown


def test_a_text_without_an_address_is_left_alone() -> None:
    assert masked("task 0xab at 12:00, a/b?c=d") == "task 0xab at 12:00, a/b?c=d"
