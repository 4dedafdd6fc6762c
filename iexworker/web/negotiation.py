"""Which form of an answer a client accepts (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from functools import lru_cache

import falcon
from falcon.asgi import Request

JSON = "application/json"
HTML = "text/html"
ACTUATOR = "application/vnd.spring-boot.actuator.v3+json"
ACTUATOR_FORMS = (ACTUATOR, "application/vnd.spring-boot.actuator.v2+json", JSON)


@lru_cache(maxsize=256)
def _best(forms: tuple[str, ...], accept: str) -> str:
    try:
        return falcon.mediatypes.best_match(forms, accept)
    except ValueError:
        return ""


def preferred(req: Request, forms: tuple[str, ...]) -> str | None:
    """Return the best of `forms` (the first one for a client that has no wish), None for none."""
    return _best(forms, req.accept) or None


def choose(req: Request, *forms: str) -> str:
    """Return the best of `forms`; raises 406 where the client takes none of them."""
    best = _best(forms, req.accept)
    if not best:
        raise falcon.HTTPNotAcceptable()
    return best
