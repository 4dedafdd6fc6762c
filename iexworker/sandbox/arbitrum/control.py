"""The words that change the node while it runs: `iexworker sandbox chain WORDS`."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from iexworker.sandbox.arbitrum.limits import Meter
from iexworker.sandbox.arbitrum.sequencer import Sequencer
from iexworker.sandbox.arbitrum.switches import (
    AWAY_TEXTS,
    Answer,
    LogAnswer,
    RateAnswer,
    Switches,
)

GWEI = 10**9
LONGEST_S = 3600.0
USAGE = """\
l1-price N                      price of L1 data, in base fees for a byte's 16 gas
base-fee GWEI | base-fee double
out-of-gas [N]                  the next transactions run out of gas (1)
sequencer away S [sequencer|forwarder|endpoint|surplus]
sequencer slow S [kept|error|silence] [mined|lost] [for S]
sequencer well
lag S [always]                  one of two nodes is S seconds behind; 0: neither
finality S                      how far safe and finalized are behind
rate N [429|429-retry-after|object|object-32029]    calls a second; 0: no limit
logs N [infura|quicknode|free|geth]                 blocks of a range; 0: no limit
log-results N                   logs of an answer; 0: no limit
rule NAME on|off                no-pool, nonces, l1-gas, prices, funds, extra-fields, same-second
reorg N                         take back the last N blocks
calls [reset]                   calls by method since the last reset
show                            what is on"""

RULES = ("no_pool", "nonces", "l1_gas", "prices", "funds", "extra_fields", "same_second")

_E = TypeVar("_E", bound=enum.Enum)


class Unknown(Exception):
    """Words that mean nothing."""


def run(switches: Switches, sequencer: Sequencer, meter: Meter, words: list[str]) -> str:
    """Do it, and give the line to print; Unknown with the usage for what is none."""
    verbs: Mapping[str, Callable[[list[str]], str]] = {
        "l1-price": lambda rest: _l1_price(switches, rest),
        "base-fee": lambda rest: _base_fee(switches, sequencer, rest),
        "out-of-gas": lambda rest: _out_of_gas(switches, rest),
        "sequencer": lambda rest: _sequencer(switches, rest),
        "lag": lambda rest: _lag(switches, rest),
        "finality": lambda rest: _finality(switches, rest),
        "rate": lambda rest: _rate(switches, rest),
        "logs": lambda rest: _logs(switches, rest),
        "log-results": lambda rest: _log_results(switches, rest),
        "rule": lambda rest: _rule(switches, rest),
        "reorg": lambda rest: _reorg(sequencer, rest),
        "calls": lambda rest: _calls(meter, rest),
        "show": lambda _: _show(switches),
    }
    try:
        return verbs[words[0]](words[1:])
    except (LookupError, ValueError):
        raise Unknown(f"{' '.join(words) or 'nothing'} is no switch; there are:\n{USAGE}") from None


def _l1_price(switches: Switches, words: list[str]) -> str:
    switches.l1_price = _number(words[0])
    return f"L1 data costs {switches.l1_price:g} base fees"


def _base_fee(switches: Switches, sequencer: Sequencer, words: list[str]) -> str:
    if words[0] == "double":
        sequencer.set_base_fee(switches.base_fee_wei * 2)
    else:
        sequencer.set_base_fee(max(1, round(_number(words[0]) * GWEI)))
    return f"the base fee is {switches.base_fee_wei / GWEI:g} gwei"


def _out_of_gas(switches: Switches, words: list[str]) -> str:
    switches.out_of_gas = int(words[0]) if words else 1
    return f"transactions that run out of gas: the next {switches.out_of_gas}"


def _sequencer(switches: Switches, words: list[str]) -> str:
    verb, *rest = words
    if verb == "well":
        switches.sequencer_well()
        return "the sequencer is well"
    seconds = _number(rest[0])
    if verb == "away":
        text = rest[1] if len(rest) > 1 else "sequencer"
        if text not in AWAY_TEXTS:
            raise ValueError
        switches.send_away(seconds, text)
        return f"the sequencer takes nothing for {seconds:g} s"
    if verb != "slow":
        raise ValueError
    options = rest[1:]
    lasting = LONGEST_S
    if "for" in options:
        place = options.index("for")
        lasting = _number(options[place + 1])
        del options[place : place + 2]
    mined = "lost" not in options
    answers = [one for one in options if one not in ("mined", "lost")]
    answer = _one_of(Answer, answers, Answer.SILENCE)
    switches.slow_down(seconds, lasting, mined=mined, answer=answer)
    return f"the sequencer takes {seconds:g} s for a transaction, for {lasting:g} s"


def _lag(switches: Switches, words: list[str]) -> str:
    switches.always_late = words[1:] == ["always"]
    switches.lag_s = _number(words[0])
    return f"one node is {switches.lag_s:g} s behind"


def _finality(switches: Switches, words: list[str]) -> str:
    switches.finality_s = _number(words[0])
    return f"safe and finalized are {switches.finality_s:g} s behind"


def _rate(switches: Switches, words: list[str]) -> str:
    switches.limit_rate(int(words[0]), _one_of(RateAnswer, words[1:], RateAnswer.STATUS))
    return f"calls a second: {switches.rate_limit or 'any number'}"


def _logs(switches: Switches, words: list[str]) -> str:
    switches.limit_logs(int(words[0]), _one_of(LogAnswer, words[1:], LogAnswer.INFURA))
    return f"blocks of a range of logs: {switches.log_range or 'any number'}"


def _log_results(switches: Switches, words: list[str]) -> str:
    switches.log_results = int(words[0])
    return f"logs of an answer: {switches.log_results or 'any number'}"


def _rule(switches: Switches, words: list[str]) -> str:
    name = words[0].replace("-", "_")
    if name not in RULES:
        raise ValueError
    setattr(switches, name, {"on": True, "off": False}[words[1]])
    return f"{words[0]} is {words[1]}"


def _reorg(sequencer: Sequencer, words: list[str]) -> str:
    sequencer.reorganise(int(words[0]))
    return f"taken back: {words[0]} blocks"


def _calls(meter: Meter, words: list[str]) -> str:
    counts = meter.counts()
    if words == ["reset"]:
        meter.reset()
    return json.dumps({"total": sum(counts.values()), "methods": counts}, sort_keys=True)


def _show(switches: Switches) -> str:
    lines = [
        f"base fee {switches.base_fee_wei / GWEI:g} gwei, L1 price {switches.l1_price:g}",
        f"sequencer {'away' if switches.away else 'slow' if switches.slowness else 'well'}",
        f"lag {switches.lag_s:g} s, finality {switches.finality_s:g} s",
        f"calls a second {switches.rate_limit or 'unlimited'}, "
        f"blocks of logs {switches.log_range or 'unlimited'}",
    ]
    off = [rule.replace("_", "-") for rule in RULES if not getattr(switches, rule)]
    return "\n".join(lines + ([f"off: {', '.join(off)}"] if off else []))


def _number(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(text)
    return number


def _one_of(kind: type[_E], words: list[str], default: _E) -> _E:
    return kind(words[0]) if words else default
