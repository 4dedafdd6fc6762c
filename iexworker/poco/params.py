"""The deal's `params` text, read as the Java workers of each generation read it (05, section 3.3).

Workers that read it differently run the app with other arguments, compute other results and lose
stake where trust is above 1. So the key list is closed, by profile, and anything that does not fit
makes the whole text the app's arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from iexworker.poco.models import DealParams, Profile


class _Misfit(ValueError):
    """The text is no parameters object of this profile."""


class _Integer(str):
    """The source text of a JSON number without fraction or exponent."""


class _Decimal(str):
    """The source text of any other JSON number."""


class _Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object with every pair that was written, repeated keys too."""


def read(text: str, profile: Profile) -> DealParams:
    """Return the parameters that `text` gives; it never fails."""
    try:
        return DealParams(**_fields(_object(text), _FIELDS[profile]))
    except (_Misfit, ValueError, RecursionError):
        return DealParams(args=text)


def _object(text: str) -> _Pairs:
    """Parse the JSON object that the text begins with; what follows it is ignored."""
    value, _ = _DECODER.raw_decode(text.lstrip(" \t\r\n"))
    if not isinstance(value, _Pairs):
        raise _Misfit("not an object")
    return value


def _fields(pairs: _Pairs, known: Mapping[str, tuple[str, _Reader]]) -> dict[str, Any]:
    """Read every pair, in order: a misfit counts even where a later pair of its key replaces it."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key not in known:
            raise _Misfit(f"unknown key {key!r}")
        name, reader = known[key]
        fields[name] = reader(value)
    return fields


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return _printable(value)
        case _:
            raise _Misfit(f"expected a text, got {value!r}")


def _texts(value: Any) -> tuple[str | None, ...] | None:  # noqa: ANN401 - any JSON value
    if value is None:
        return None
    if not isinstance(value, list):
        raise _Misfit(f"expected a list, got {value!r}")
    return tuple(_text(item) for item in value)


def _map(value: Any) -> dict[str, str | None] | None:  # noqa: ANN401 - any JSON value
    if value is None:
        return None
    if not isinstance(value, _Pairs):
        raise _Misfit(f"expected an object, got {value!r}")
    return {_printable(key): _text(item) for key, item in value}


def _printable(text: str) -> str:
    """Replace a lone surrogate, which has no UTF-8 form, by a question mark, as Java does."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _boolean(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    match value:
        case None | "" | "false" | "False" | "FALSE":
            return False
        case bool():
            return value
        case _Integer():
            return value not in ("0", "-0")
        case "true" | "True" | "TRUE":
            return True
        case _:
            raise _Misfit(f"expected a boolean, got {value!r}")


def _constant(name: str) -> NoReturn:
    raise _Misfit(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    parse_int=_Integer,
    parse_float=_Decimal,
    parse_constant=_constant,
    object_pairs_hook=_Pairs,
)

_Reader = Callable[[Any], Any]

_COMMON: Mapping[str, tuple[str, _Reader]] = {
    "iexec_args": ("args", _text),
    "iexec_input_files": ("input_files", _texts),
    "iexec_secrets": ("secrets", _map),
    "iexec_result_encryption": ("result_encryption", _boolean),
    "iexec_result_storage_provider": ("storage_provider", _text),
    "iexec_result_storage_proxy": ("storage_proxy", _text),
}

_FIELDS: Mapping[Profile, Mapping[str, tuple[str, _Reader]]] = {
    Profile.V8: {
        **_COMMON,
        "iexec_developer_logger": ("developer_logger", _boolean),
        "iexec_tee_post_compute_image": ("tee_post_compute_image", _text),
        "iexec_tee_post_compute_fingerprint": ("tee_post_compute_fingerprint", _text),
    },
    Profile.V9: {**_COMMON, "bulk_cid": ("bulk_cid", _text)},
}
