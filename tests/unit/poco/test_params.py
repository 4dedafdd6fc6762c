from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iexworker.poco import params
from iexworker.poco.models import DealParams, Profile

V8, V9 = Profile.V8, Profile.V9


@given(st.text(), st.sampled_from(Profile))
def test_any_text_reads_as_something(text: str, profile: Profile) -> None:
    assert isinstance(params.read(text, profile), DealParams)


@given(st.dictionaries(st.text(), st.text()), st.sampled_from(Profile))
def test_an_unknown_key_makes_the_whole_text_the_arguments(
    given_keys: dict[str, str], profile: Profile
) -> None:
    text = json.dumps({**given_keys, "iexec_argz": "x"})

    assert params.read(text, profile) == DealParams(args=text)


def test_text_nested_beyond_measure_becomes_the_arguments() -> None:
    text = "[" * 100_000

    assert params.read(text, V9) == DealParams(args=text)


def test_a_number_of_any_length_keeps_its_source_text() -> None:
    digits = "9" * 5_000

    assert params.read('{"iexec_args":' + digits + "}", V9).args == digits


def test_an_exponent_keeps_its_source_text() -> None:
    assert params.read('{"iexec_args":-1.5E+03}', V9).args == "-1.5E+03"


@pytest.mark.parametrize("number", ["-0", "0"])
def test_a_boolean_of_zero_is_false(number: str) -> None:
    read = params.read('{"iexec_args":"a","iexec_result_encryption":' + number + "}", V9)

    assert read == DealParams(args="a", result_encryption=False)


@pytest.mark.parametrize("value", ["-1", "12", '"True"', "true"])
def test_a_boolean_of_another_integer_or_word_is_true(value: str) -> None:
    assert params.read('{"iexec_result_encryption":' + value + "}", V9).result_encryption


@pytest.mark.parametrize("value", ["[]", "{}", "0e0", '"0"'])
def test_a_boolean_of_another_type_does_not_fit(value: str) -> None:
    text = '{"iexec_result_encryption":' + value + "}"

    assert params.read(text, V9) == DealParams(args=text)


def test_a_misfit_counts_even_where_a_later_pair_replaces_it() -> None:
    text = '{"iexec_args":{},"iexec_args":"b"}'

    assert params.read(text, V9) == DealParams(args=text)


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    read = params.read('{"iexec_args":"\\ud800x","iexec_secrets":{"\\udc00":"v"}}', V9)

    assert read.args == "?x"
    assert read.secrets == {"?": "v"}


def test_a_byte_order_mark_is_no_blank() -> None:
    text = '\ufeff{"iexec_args":"a"}'

    assert params.read(text, V9) == DealParams(args=text)


def test_each_profile_knows_its_own_keys() -> None:
    bulk, logger = '{"bulk_cid":"c"}', '{"iexec_developer_logger":true}'

    assert params.read(bulk, V9).bulk_cid == "c"
    assert params.read(bulk, V8) == DealParams(args=bulk)
    assert params.read(logger, V8).developer_logger
    assert params.read(logger, V9) == DealParams(args=logger)
