"""Signatures of webhooks: the right one passes, everything near it does not."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.triggers.webhook_signatures import TOLERANCE_S, BadSignature, check, sign

SECRET, BODY, NOW = "s3cr3t", b'{"a": 1}', 1_700_000_000.7


def ours(body: bytes = BODY, now: float = NOW, delivery: str = "", secret: str = SECRET,
         ) -> dict[str, str]:
    found = {"x-dataflow-signature": sign(secret, body, now, delivery)}
    return found | ({"x-dataflow-delivery": delivery} if delivery else {})


def hub(body: bytes = BODY, secret: str = SECRET, **headers: str) -> dict[str, str]:
    mark = hmac.new(secret.encode(), body, sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={mark}",
            **{name.replace("_", "-"): value for name, value in headers.items()}}


def test_a_signed_call_has_the_id_of_its_delivery() -> None:
    assert check(SECRET, ours(delivery="d-1"), BODY, NOW) == "d-1"
    assert check(SECRET, hub(x_github_delivery="g-1"), BODY, NOW) == "g-1"


def test_without_a_delivery_the_same_call_has_the_same_id() -> None:
    first = check(SECRET, ours(), BODY, NOW)
    assert check(SECRET, ours(), BODY, NOW + 3) == first
    assert check(SECRET, ours(now=NOW + 1), BODY, NOW) != first
    assert check(SECRET, hub(), BODY, NOW) == check(SECRET, hub(), BODY, NOW + 9e9)


def test_the_known_answer_of_github() -> None:
    # from its documentation of webhooks
    headers = {"x-hub-signature-256":
               "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    assert check("It's a Secret to Everybody", headers, b"Hello, World!", NOW).startswith("body-")


@pytest.mark.parametrize("shift", [-TOLERANCE_S, 0.0, TOLERANCE_S - 1])
def test_a_signature_holds_for_some_minutes(shift: float) -> None:
    check(SECRET, ours(now=int(NOW)), BODY, int(NOW) + shift)


@pytest.mark.parametrize("shift", [-TOLERANCE_S - 1, TOLERANCE_S + 1, 9e9])
def test_an_old_signature_and_one_of_the_future_do_not_hold(shift: float) -> None:
    with pytest.raises(BadSignature):
        check(SECRET, ours(now=int(NOW)), BODY, int(NOW) + shift)


def test_one_of_several_signatures_is_enough_while_a_secret_is_changed() -> None:
    old, new = (sign(each, BODY, NOW) for each in ("old", SECRET))
    headers = {"x-dataflow-signature": f"{old},{new.partition(',')[2]}"}
    check(SECRET, headers, BODY, NOW)


MARK = sign(SECRET, BODY, NOW).partition("v1=")[2]
TIME = str(int(NOW))


@pytest.mark.parametrize("headers", [
    {}, {"x-dataflow-signature": ""}, {"x-dataflow-signature": MARK},
    {"x-dataflow-signature": f"t={TIME}"}, {"x-dataflow-signature": f"v1={MARK}"},
    {"x-dataflow-signature": f"t={TIME},v1={MARK[:-1]}"},
    {"x-dataflow-signature": f"t={TIME},v1={MARK}0"},
    {"x-dataflow-signature": f"t={TIME},v1={MARK.upper()}"},
    {"x-dataflow-signature": f"t={TIME},v0={MARK}"},
    {"x-dataflow-signature": f"t={TIME},t={TIME},v1={MARK}"},
    {"x-dataflow-signature": f"t={int(TIME) + 1},v1={MARK}"},
    {"x-dataflow-signature": f"t=+{TIME},v1={MARK}"},
    {"x-dataflow-signature": f"t=0{TIME},v1={MARK}"},
    {"x-dataflow-signature": f"t={TIME}.0,v1={MARK}"},
    {"x-dataflow-signature": f"t=١{TIME[1:]},v1={MARK}"},
    {"x-dataflow-signature": f"t={TIME}" + f",v1={'0' * 64}" * 5 + f",v1={MARK}"},
    {"x-dataflow-signature": f"t={TIME},v1={MARK}", "x-dataflow-delivery": "d"},
    {"x-dataflow-signature": f"t={'9' * 400},v1={MARK}"},
    ours(secret=SECRET + " "), ours(secret=SECRET[:-1]), ours(secret=SECRET.upper()),
    ours(body=BODY + b" "), ours(body=BODY[:-1]), ours(body=b""),
    {**ours(delivery="d"), "x-dataflow-delivery": "e"},
    {name: value for name, value in ours(delivery="d").items() if "delivery" not in name},
    {**ours(delivery="d\nx"), "x-dataflow-delivery": "d\nx"},
    hub(secret=SECRET[:-1]), hub(body=BODY + b"\n"),
    {"x-hub-signature-256": hub()["x-hub-signature-256"].replace("sha256", "sha1")},
    {"x-hub-signature-256": hub()["x-hub-signature-256"][7:]},
    {"x-hub-signature-256": hub()["x-hub-signature-256"] + "é"},
    {"x-hub-signature": hub()["x-hub-signature-256"]},
    hub(x_github_delivery="a b"),
    {**hub(), "x-dataflow-signature": f"t={TIME},v1={'0' * 64}"},  # the stricter one counts
])
def test_what_is_near_does_not_pass(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        check(SECRET, headers, BODY, NOW)


def test_nothing_is_signed_with_an_empty_secret() -> None:
    with pytest.raises(BadSignature):
        check("", ours(secret=""), BODY, NOW)


def test_a_part_of_the_body_cannot_become_the_delivery() -> None:
    signed = ours(body=b"b", delivery="a")
    with pytest.raises(BadSignature):
        check(SECRET, {"x-dataflow-signature": signed["x-dataflow-signature"]}, b"a\nb", NOW)
    plain = ours(body=b"a\nb")
    with pytest.raises(BadSignature):
        check(SECRET, {**plain, "x-dataflow-delivery": "a"}, b"b", NOW)


@given(st.binary(max_size=60), st.binary(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_only_the_same_secret_and_body_pass(one: bytes, other: bytes, mine: str,
                                            theirs: str) -> None:
    secret, another = f"x{mine}", f"x{theirs}"
    if "\ud800" <= max(secret + another) <= "\udfff":
        return
    headers = ours(one, secret=another)
    if one == other and secret == another:
        check(secret, headers, other, NOW)
    else:
        with pytest.raises(BadSignature):
            check(secret, headers, other, NOW)
