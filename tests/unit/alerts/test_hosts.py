"""Where URLs lead: spellings of addresses, what is public, what is refused as unclear."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.alerts.hosts import ipv4_of, leads_to, place_of, read_host, why_not_public
from dataflow.alerts.reach import Reach
from dataflow.exceptions import ChannelRefused

PUBLIC = Reach()


@pytest.mark.parametrize("host, reason", [
    ("127.1", "spelling"), ("127.0.1", "spelling"), ("0x7f000001", "spelling"),
    ("2130706433", "spelling"), ("0177.0.0.1", "spelling"), ("0x7f.0.0.0x1", "spelling"),
    ("017700000001", "spelling"), ("0", "spelling"), ("134744072", "spelling"),
    ("127.0.0.1.", "spelling"), ("１２７.0.0.1", "spelling"), ("①②⑦。０。０。①", "spelling"),
    ("[::ffff:10.0.0.1]", "spelling"), ("[::ffff:7f00:1]", "spelling"),
    ("[fe80::1%25eth0]", "spelling"), ("[::1%lo]", "spelling"),
    ("127.0.0.1", "address"), ("127.255.0.9", "address"), ("10.0.0.1", "address"),
    ("172.16.0.1", "address"), ("192.168.1.1", "address"), ("169.254.169.254", "address"),
    ("100.64.0.1", "address"), ("0.0.0.0", "address"), ("224.0.0.1", "address"),
    ("255.255.255.255", "address"), ("240.0.0.1", "address"), ("198.18.0.1", "address"),
    ("192.0.2.1", "address"), ("[::1]", "address"), ("[::]", "address"), ("[fe80::1]", "address"),
    ("[fc00::1]", "address"), ("[ff02::1]", "address"), ("[fec0::1]", "address"),
    ("[64:ff9b::7f00:1]", "address"), ("[64:ff9b::169.254.169.254]", "address"),
    ("[2002:7f00:1::]", "address"), ("[2002:a9fe:a9fe::1]", "address"),
    ("[2001:0:808:808::1]", "address"), ("[::127.0.0.1]", "address"), ("[2001:db8::1]", "address"),
    ("[3fff::1]", "address"), ("[fd00:ec2::254]", "address"),
])
def test_what_does_not_lead_to_the_public_internet_is_refused(host: str, reason: str) -> None:
    with pytest.raises(ChannelRefused) as caught:
        place = place_of(f"http://{host}/x")
        PUBLIC.check_spelling(place, "json://…")
        assert place.address is not None
        PUBLIC.check(place.address, place, "json://…")
    assert caught.value.reason == reason


@pytest.mark.parametrize("host", ["8.8.8.8", "1.1.1.1", "[2606:4700::1111]", "[2002:808:808::1]",
                                  "[64:ff9b::808:808]"])
def test_public_addresses_are_not_refused(host: str) -> None:
    place = place_of(f"http://{host}/")
    PUBLIC.check_spelling(place, "x")
    assert place.address is not None
    PUBLIC.check(place.address, place, "x")


@pytest.mark.parametrize("url, said", [
    ("file:///etc/passwd", "only http and https are allowed, not 'file'"),
    ("gopher://example.com/x", "not 'gopher'"), ("ftp://example.com", "not 'ftp'"),
    ("http:///x", "names no host"), ("http://:80/", "names no host"),
    ("http://a.example\\@127.0.0.1/", "backslash"), ("http://127.0.0.1\\.a.example/", "backslash"),
    ("http://a.example @127.0.0.1/", "blank"), ("http://a.example\n.b/", "control character"),
    ("http://a.example\t/", "control character"), ("http://\x00a.example/", "control character"),
    ("http://u:p@a.example@127.0.0.1/", "more than one '@'"), ("http://a.example:0/", "port 0"),
    ("http://a.example:99999/", "Port out of range"), ("http://a.example:8o/", "Port could not"),
    ("http://[::1/", "Invalid IPv6"), ("http://[127.0.0.1]/", "no IPv6 address|IPv4 address"),
    ("http://a..example/", "no name|neither"), ("http://%31%32%37.0.0.1/", "neither a name"),
    ("http://a.example%00.b/", "neither a name"), ("http://256.1.1.1/", "neither a name"),
    ("http://1.2.3.4.5/", "neither a name"), ("http://a.0x7f/", "neither a name"),
    ("http://a.example/ä", "other than ASCII"), ("http://a;b.example/", "neither a name"),
    ("http://-a.example/", "neither a name"), (f"http://{'a' * 64}.example/", "no name|neither"),
])
def test_a_url_that_is_unclear_is_refused(url: str, said: str) -> None:
    with pytest.raises(ChannelRefused, match=said) as caught:
        place_of(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("url, host, port", [
    ("http://example.com#@127.0.0.1/", "example.com", 80),
    ("http://example.com?@127.0.0.1/", "example.com", 80),
    ("http://example.com/@127.0.0.1", "example.com", 80),
    ("http://example.com@127.0.0.1/", "127.0.0.1", 80),
    ("http://example.com:80@127.0.0.1:8080/", "127.0.0.1", 8080),
    ("https://u:p%40ss@Example.COM./", "example.com", 443),
    ("https://bücher.example/", "xn--bcher-kva.example", 443),
    ("https://EXAMPLE.com:443/", "example.com", 443),
])
def test_the_host_is_what_stands_after_the_at_and_before_the_path(
    url: str, host: str, port: int
) -> None:
    place = place_of(url)
    assert (place.host, place.port) == (host, port)


def test_parts_of_a_url_are_what_is_asked_for() -> None:
    place = place_of("https://u%3A:p%40@h.example:8443/a/b?c=d#e")
    assert (place.user, place.password, place.target) == ("u:", "p@", "/a/b?c=d")
    assert (place.host_header, place.origin) == ("h.example:8443", ("https", "h.example", 8443))
    assert place_of("http://[2606:4700::1111]:80/").host_header == "[2606:4700::1111]"


addresses_v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
addresses_v6 = st.one_of(
    st.integers(0, 2**128 - 1), st.integers(0, 2**32 - 1).map(lambda low: 0xFFFF << 32 | low),
    st.integers(0, 2**64 - 1), st.integers(0, 2**112 - 1).map(lambda low: 0x2002 << 112 | low),
).map(IPv6Address)


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, IPv4Address]:
    """Return an IPv4 address and one of the ways in which ``inet_aton`` reads it."""
    address = draw(addresses_v4)
    count = draw(st.integers(1, 4))
    data = address.packed
    numbers = [*data[:count - 1], int.from_bytes(data[count - 1:])]
    forms = [draw(st.sampled_from(["{:d}", "0x{:x}", "0X{:X}", "0{:o}", "0x0{:x}", "00{:o}"]))
             for _ in numbers]
    return ".".join(form.format(number) for form, number in zip(forms, numbers, strict=True)), (
        address)


@given(spelled())
def test_every_spelling_of_an_address_is_that_address_and_odd_unless_it_is_the_plain_one(
    pair: tuple[str, IPv4Address]
) -> None:
    text, address = pair
    assert ipv4_of(text) == address == IPv4Address(socket.inet_aton(text))
    assert read_host(text) == (text.lower(), address, text != str(address))


@given(st.text("0123456789xXabcdef.", min_size=1, max_size=18))
def test_what_the_system_reads_as_an_address_is_never_taken_for_a_name(text: str) -> None:
    try:
        expected = IPv4Address(socket.inet_aton(text))
    except OSError:
        expected = None
    try:
        _, address, _ = read_host(text)
    except ChannelRefused:
        return
    if expected is not None:
        assert address == expected


@given(st.one_of(addresses_v4, addresses_v6))
def test_what_is_allowed_is_global_with_all_that_is_within_it(
    address: IPv4Address | IPv6Address
) -> None:
    if why_not_public(address) is None:
        assert all(one.is_global and not one.is_multicast and not one.is_loopback
                   and not one.is_link_local and not one.is_private for one in leads_to(address))
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        assert why_not_public(address) == why_not_public(mapped)


@given(addresses_v4)
def test_an_ipv4_address_is_public_as_the_standard_library_has_it(address: IPv4Address) -> None:
    relay = address in ip_network("192.88.99.0/24")
    assert (why_not_public(address) is None) == (
        address.is_global and not address.is_multicast and not address.is_reserved and not relay)


def test_what_is_allowed_is_the_addresses_networks_and_hosts_of_the_setting() -> None:
    reach = Reach.of(("10.1.0.0/16", "127.0.0.1", "hooks.internal", "fd00::/8"))
    allowed = {text: reach.allows(ip_address(text)) for text in (
        "10.1.2.3", "10.2.2.3", "127.0.0.1", "127.0.0.2", "fd00::1", "fe80::1", "8.8.8.8",
        "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1")}
    assert allowed == {
        "10.1.2.3": True, "10.2.2.3": False, "127.0.0.1": True, "127.0.0.2": False,
        "fd00::1": True, "fe80::1": False, "8.8.8.8": True, "::ffff:10.1.2.3": True,
        "64:ff9b::10.1.2.3": True, "2002:a01:203::1": True}
    assert reach.allows(ip_address("10.9.9.9"), "hooks.internal")
    assert not reach.allows(ip_address("10.9.9.9"), "hooks.internal.evil.example")
    assert Reach.of(True).allows(ip_address("169.254.169.254"))
    assert Reach.of(False) == Reach.of(()) == PUBLIC


def test_a_refusal_says_what_leads_where_and_how_it_is_allowed() -> None:
    place = place_of("http://169.254.169.254/latest?token=s3cret")
    with pytest.raises(ChannelRefused) as caught:
        PUBLIC.check(place.address, place, "http://169.254.169.254/…")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "http://169.254.169.254/… leads to 169.254.169.254, a link-local address, to which no "
        'webhook may go. Where it is meant, allow it in the settings: alerts_allow_private = '
        '["169.254.169.254"] (DATAFLOW_ALERTS_ALLOW_PRIVATE=169.254.169.254).')
