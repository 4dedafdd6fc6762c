"""Challenges and tokens (docs/spec/03, 3): who may call, and as whom."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
from dataclasses import dataclass

from coincurve import PublicKey

from iexworker.poco.hashing import keccak, lenient_bytes
from iexworker.poco.signatures import address_of
from iexworker.sandbox.scheduler.interfaces import Clock

CHALLENGE_LIFE_S = 5 * 60
TOKEN_LIFE_S = 60 * 60


@dataclass(frozen=True, slots=True)
class _Challenge:
    text: str
    expires_s: float


class Login:
    """Challenges and tokens of this process; a new process knows none of the old ones."""

    def __init__(self, clock: Clock, version: str, allowed: frozenset[str] | None = None) -> None:
        """Let in the addresses of `allowed`, compared as they stand, or everybody with None."""
        self._clock = clock
        self._audience = f"iExec Scheduler v{version}"
        self._allowed = allowed
        self._key = secrets.token_bytes(32)
        self._challenges: dict[str, _Challenge] = {}
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def challenge(self, wallet: str) -> str | None:
        """Return the challenge of an address, the same for five minutes; None: not on the list."""
        if self._allowed is not None and wallet not in self._allowed:
            return None
        with self._lock:
            known = self._challenges.get(wallet)
            if known is None or known.expires_s <= self._clock.now_s():
                text = base64.b64encode(secrets.token_bytes(32)).decode("ascii")
                known = _Challenge(text, self._clock.now_s() + CHALLENGE_LIFE_S)
                self._challenges[wallet] = known
            return known.text

    def token(self, wallet: str, signature: str) -> str | None:
        """Return the token of an address that signed its challenge, the one it has if any."""
        challenge = self.challenge(wallet)
        if challenge is None or not _signed_by(challenge, signature, wallet):
            return None
        with self._lock:
            self._challenges.pop(wallet, None)
            if wallet not in self._tokens:
                self._tokens[wallet] = self._issue(wallet)
            return self._tokens[wallet]

    def wallet(self, token: str) -> str | None:
        """Return whose token it is; one that is past its time is forgotten here, and only here."""
        with self._lock:
            for wallet, known in self._tokens.items():
                if hmac.compare_digest(known.encode(), token.encode()):
                    if _claims(token)["exp"] > self._clock.now_s():
                        return wallet
                    del self._tokens[wallet]
                    return None
            return None

    def _issue(self, wallet: str) -> str:
        now = int(self._clock.now_s())
        claims = {"aud": self._audience, "iat": now, "exp": now + TOKEN_LIFE_S, "sub": wallet}
        return json_web_token(claims, self._key)


def json_web_token(claims: dict[str, object], key: bytes) -> str:
    """Return a JWT signed with HS256 (RFC 7519)."""
    signed = f"{_part({'alg': 'HS256'})}.{_part(claims)}"
    return f"{signed}.{_base64(hmac.digest(key, signed.encode(), 'sha256'))}"


def _part(content: dict[str, object]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _claims(token: str) -> dict[str, float]:
    body = token.split(".")[1]
    claims: dict[str, float] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def _signed_by(challenge: str, signature: str, wallet: str) -> bool:
    """Try all recovery ids as the real scheduler does; v is not looked at (3.2)."""
    data = lenient_bytes(signature)
    if len(data) != 65:
        return False
    digest = keccak(lenient_bytes(challenge))
    return any(_recovered(data[:64], digest, one) == wallet.lower() for one in range(4))


def _recovered(pair: bytes, digest: bytes, recovery: int) -> str | None:
    try:
        key = PublicKey.from_signature_and_message(pair + bytes([recovery]), digest, hasher=None)
    except Exception:  # noqa: BLE001 - coincurve raises a bare Exception for r or s out of range
        return None
    return address_of(key)


def session_id(fields: dict[str, object]) -> str:
    """Return the session id of a public configuration: a hash of its Java text (5.4)."""
    text = ", ".join(f"{name}={value}" for name, value in fields.items())
    return "0x" + keccak(f"PublicConfiguration({text})".encode()).hex()
