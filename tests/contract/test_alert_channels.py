"""Channels with real parts on loopback: mail, Slack, webhooks, and all that webhooks may not."""

from __future__ import annotations

import base64
import email
import email.policy
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.etree.ElementTree import fromstring

import pytest

from dataflow.alerts import (
    Alert,
    Delivery,
    Groups,
    MemoryOutbox,
    RunEvent,
    Text,
    fold,
    matches,
    open_channel,
    parcels,
)
from dataflow.alerts.channels import Channel
from dataflow.alerts.reach import Reach
from dataflow.exceptions import AlertError, ChannelError, ChannelRefused
from dataflow.settings import temporary_settings
from tests.alert_support import (
    Names,
    Receiver,
    endlessly,
    free_port,
    plainly,
    receiver,
    two_receivers,
)

LOOPBACK = Reach.of(("127.0.0.1",))
FIRST = Reach.of(("127.0.0.2",))
"""Stands for the public internet: the one address that may be connected to."""
SECRET = "T0pS3cretToken"
HELLO = Text(title="[failed] etl: swift-heron", body="First error: ValueError: bad rów\n2 more",
             severity="failure", data={"run_id": "0c1e", "failed_elements": 3})


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """Return a receiver at 127.0.0.1."""
    with receiver() as found:
        yield found


@pytest.fixture
def pair() -> Iterator[tuple[Receiver, Receiver]]:
    """Return a receiver that may be reached (127.0.0.2) and a private one, on the same port."""
    with two_receivers("127.0.0.2", "127.0.0.1") as found:
        yield found


def opened(url: str, reach: Reach = LOOPBACK) -> Channel:
    return open_channel(url, named={}, reach=reach)


def send(url: str, reach: Reach = LOOPBACK, timeout_s: float = 10.0) -> None:
    opened(url, reach).send(HELLO, timeout_s)


# ---- what arrives


@pytest.mark.parametrize("scheme", ["json", "http"])
def test_a_webhook_gets_the_message_as_json(hook: Receiver, scheme: str) -> None:
    send(hook.url("/hook/x?room=a%20b" if scheme == "http" else "/hook/x?-room=a%20b", scheme))
    (request,) = hook.requests
    assert request.method == "POST"
    assert request.path in ("/hook/x?room=a%20b", "/hook/x?room=a+b")
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert request.headers["Host"] == f"127.0.0.1:{hook.port}"
    assert request.json == {
        "version": "1.0", "title": HELLO.title, "message": HELLO.body, "type": "failure",
        "text": f"{HELLO.title}\n{HELLO.body}", "attachments": [], "alert": dict(HELLO.data)}


def test_a_webhook_gets_the_headers_method_and_user_of_its_url(hook: Receiver) -> None:
    send(f"json://me:p%40ss@127.0.0.1:{hook.port}/x?+X-Key={SECRET}&method=PUT&:room=ops&-a=1")
    (request,) = hook.requests
    assert (request.method, request.path, request.headers["X-Key"]) == ("PUT", "/x?a=1", SECRET)
    assert base64.b64decode(request.headers["Authorization"].split()[1]) == b"me:p@ss"
    assert request.json["room"] == "ops"


def test_a_form_and_xml_hold_the_same(hook: Receiver) -> None:
    send(hook.url("/x?:room=ops", "form"))
    send(hook.url("/x?:room=ops", "xml"))
    form, xml = hook.requests
    assert parse_qs(form.body.decode()) == {
        "version": ["1.0"], "title": [HELLO.title], "message": [HELLO.body], "type": ["failure"],
        "room": ["ops"]}
    (notification,) = fromstring(xml.body)[0]
    assert {each.tag: each.text for each in notification} == {
        "Version": "1.0", "Subject": HELLO.title, "MessageType": "failure",
        "Message": HELLO.body, "room": "ops"}


def test_mail_arrives_through_apprise_and_a_server_of_mail() -> None:
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Message

    got: list[Any] = []

    class Keeping(Message):
        def handle_message(self, message: Any) -> None:
            got.append(message)

    controller = Controller(Keeping(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        send(f"mailto://127.0.0.1:{controller.port}?mode=insecure&from=flows@example.com"
             "&to=ops@example.com", Reach())
    finally:
        controller.stop()
    (message,) = got
    assert (message["X-MailFrom"], message["X-RcptTo"]) == ("flows@example.com", "ops@example.com")
    parsed = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert parsed["Subject"] == HELLO.title
    content = parsed.get_body(("plain", "html"))
    assert content is not None and "ValueError: bad rów" in content.get_content()


def test_slack_gets_a_message_through_its_webhook(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", hook.url("/services"))
    tokens = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    for url in (f"slack://{tokens}", f"https://hooks.slack.com/services/{tokens}"):
        send(url)
    assert [each.path for each in hook.requests] == [f"/services/{tokens}"] * 2
    (attachment,) = hook.requests[0].json["attachments"]
    assert attachment["title"] == HELLO.title and "ValueError: bad rów" in attachment["text"]


def test_a_webhook_of_slacks_form_at_a_host_of_ones_own_gets_a_message(hook: Receiver) -> None:
    send(f"mmost://127.0.0.1:{hook.port}/{SECRET.lower()}")
    (request,) = hook.requests
    assert request.path == f"/hooks/{SECRET.lower()}" and HELLO.title in request.json["text"]


def test_a_name_goes_with_the_request_and_into_tls_while_the_address_is_the_checked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = _certificate(tmp_path, "hooks.example.test")
    names = Names(hooks_example_test=[["127.0.0.2"], ["127.0.0.1"]])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with receiver("127.0.0.2", certificate=files) as secure:
        url = f"jsons://hooks.example.test:{secure.port}/x"
        with pytest.raises(ChannelError, match=r"gave no answer: (unable|self)") as caught:
            send(url, FIRST)
        assert caught.value.reason == "certificate" and secure.requests == []
        names.asked.clear()
        monkeypatch.setattr(socket, "getaddrinfo", Names(hooks_example_test=[["127.0.0.2"]]))
        monkeypatch.setenv("SSL_CERT_FILE", files[0])
        send(url, FIRST)
        assert secure.requests[0].headers["Host"] == f"hooks.example.test:{secure.port}"
        assert secure.names[-1] == "hooks.example.test"
        monkeypatch.delenv("SSL_CERT_FILE")
        send(f"{url}?verify=no", FIRST)
        assert len(secure.requests) == 2


def test_an_alert_goes_all_the_way_from_an_event_to_its_channels(hook: Receiver) -> None:
    event = RunEvent(flow_run_id="0c1e", flow_run_name="swift-heron", flow_name="etl",
                     tags=("prod",), state_type="FAILED", state_name="Failed", occurred_s=5.0)
    alert = Alert(match="tag:prod", channels=[hook.url("/a", "json"), hook.url("/b")],
                  group_seconds=0)
    notice = matches(alert, event)
    assert notice is not None
    _, (message,) = fold(Groups(), [notice], 5.0)
    outbox = MemoryOutbox(parcels(message, 5.0))
    with temporary_settings(alerts_allow_private=["127.0.0.1"]):
        delivery = Delivery(outbox)
        delivery.step(5.0)
        while delivery.at_work:
            assert delivery.wait(10)
            delivery.step(5.0)
    assert sorted(each.path for each in hook.requests) == ["/a", "/b"]
    assert hook.requests[0].json["alert"]["run_id"] == "0c1e" and not outbox.waiting


# ---- what is not taken


def test_an_answer_that_is_no_success_is_an_error_with_its_words_and_without_secrets(
    hook: Receiver
) -> None:
    hook.answers = [plainly(429, f"slow down, {SECRET}\x1b[31m".encode(), Retry_After="7")]
    with pytest.raises(ChannelError) as caught:
        send(hook.url(f"/{SECRET}", "json"))
    assert str(caught.value) == (
        f"json://127.0.0.1:{hook.port}/… answered 429 Too Many Requests: slow down, ***")
    assert (caught.value.status, caught.value.retry_after_s) == (429, 7.0)


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(ChannelError, match="gave no answer: .*refused") as caught:
        send(f"json://127.0.0.1:{free_port()}/{SECRET}")
    assert SECRET not in str(caught.value)


def test_an_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ChannelError, match=r"the name 'hooks\.example' cannot be resolved"):
        send(f"json://hooks.example/{SECRET}")


@pytest.mark.parametrize("url", [
    "mmost://127.0.0.1:{port}/" + SECRET.lower(), "json://127.0.0.1:{port}/" + SECRET,
    "form://127.0.0.1:{port}/" + SECRET, "xml://u:" + SECRET + "@127.0.0.1:{port}/",
    "rocket://u:" + SECRET + "@127.0.0.1:{port}/room",
])
def test_no_log_line_of_any_library_and_no_error_holds_a_secret(
    hook: Receiver, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("apprise").setLevel(1)
    hook.answers = [plainly(500, SECRET.encode())]
    with pytest.raises(AlertError) as caught:
        send(url.format(port=hook.port))
    assert hook.requests
    everything = caplog.text + str(caught.value) + repr(caught.value.__dict__)
    assert SECRET.lower() not in everything.lower()


# ---- where webhooks may not go


@pytest.mark.parametrize("spelling", [
    "127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]",
    "localhost", "LOCALHOST.", "example.com@127.0.0.1", "127.0.0.1#@example.com",
])
@pytest.mark.parametrize("scheme", ["json", "http", "form", "xml", "mmost"])
def test_no_spelling_of_loopback_is_connected_to_unless_it_is_allowed(
    hook: Receiver, scheme: str, spelling: str
) -> None:
    url = f"{scheme}://{spelling}:{hook.port}/{SECRET.lower()}"
    if "#" in spelling:
        url = f"{scheme}://127.0.0.1:{hook.port}#@example.com/{SECRET.lower()}"
    with pytest.raises(ChannelRefused) as caught:
        send(url, Reach())
    assert hook.connections == 0
    assert SECRET.lower() not in str(caught.value)


@pytest.mark.parametrize("host", [
    "169.254.169.254", "[::ffff:10.0.0.1]", "10.0.0.1", "192.168.0.1", "[fe80::1]", "0.0.0.0",
    "224.0.0.1", "100.64.0.1", "[64:ff9b::a9fe:a9fe]",
])
@pytest.mark.parametrize("scheme", ["json", "https", "form"])
def test_private_addresses_are_refused_before_anything_is_sent(
    scheme: str, host: str
) -> None:
    with pytest.raises(ChannelRefused):
        send(f"{scheme}://{host}/latest/meta-data", Reach(), 2.0)


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433", "localhost"])
def test_where_all_is_allowed_any_spelling_works(hook: Receiver, spelling: str) -> None:
    send(f"json://{spelling}:{hook.port}/x", Reach.of(True))
    assert len(hook.requests) == 1


def test_a_name_is_looked_up_once_and_what_was_checked_is_what_is_connected_to(
    pair: tuple[Receiver, Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    public, private = pair
    names = Names(hooks_example=[["127.0.0.2"], ["127.0.0.1"]])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    send(f"json://hooks.example:{public.port}/x", FIRST)
    assert (names.asked, len(public.requests), private.connections) == (["hooks.example"], 1, 0)
    with pytest.raises(ChannelRefused, match="leads to 127.0.0.1, a loopback address"):
        send(f"json://hooks.example:{public.port}/x", FIRST)
    assert private.connections == 0


def test_one_private_address_among_others_refuses_all_of_them(
    pair: tuple[Receiver, Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    public, private = pair
    monkeypatch.setattr(socket, "getaddrinfo", Names(hooks_example=[["127.0.0.2", "127.0.0.1"]]))
    with pytest.raises(ChannelRefused):
        send(f"json://hooks.example:{public.port}/x", FIRST)
    assert (public.connections, private.connections) == (0, 0)


def test_a_second_address_is_tried_where_nobody_listens_at_the_first(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(hooks_example=[["127.0.0.3", "127.0.0.1"]]))
    send(f"json://hooks.example:{hook.port}/x", Reach.of(("127.0.0.0/8",)))
    assert len(hook.requests) == 1


@pytest.mark.parametrize("scheme", ["mmost", "rocket", "ntfy"])
def test_apprise_connects_to_no_address_that_is_not_allowed_whatever_its_name_was_before(
    pair: tuple[Receiver, Receiver], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, private = pair
    names = Names(hooks_example=[["127.0.0.2"], ["127.0.0.1"]])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    public.answers = [plainly(200, b'{"status": "success", "data": {"authToken": "a", '
                                   b'"userId": "b"}}')]
    user = "u:p@" if scheme == "rocket" else ""
    url = f"{scheme}://{user}hooks.example:{public.port}/abcdefghijklmnopqrstuvwxyz"
    with suppress(AlertError):  # rocket logs in first, for which the name is looked up again
        send(url, FIRST)
    with pytest.raises(ChannelRefused, match=r"leads to 127\.0\.0\.1, an address to which no"):
        send(url, FIRST)
    assert len(public.requests) >= 1 and private.connections == 0


def test_other_threads_connect_as_before_while_one_is_guarded(hook: Receiver) -> None:
    from dataflow.alerts.connect_guard import only_within

    done: list[int] = []

    def connect() -> None:
        with socket.create_connection(("127.0.0.1", hook.port), timeout=10):
            done.append(1)

    with only_within(Reach(), "x"):
        thread = threading.Thread(target=connect)
        thread.start()
        thread.join(10)
    connect()
    assert done == [1, 1]
    with pytest.raises(ChannelRefused), only_within(Reach(), "x"):
        connect()


# ---- redirects


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_with_the_body_where_it_may_lead(
    hook: Receiver, status: int
) -> None:
    hook.answers = [plainly(status, Location="/moved?x=1"), plainly(200)]
    send(hook.url("/x", "json"))
    assert [(each.method, each.path) for each in hook.requests] == [
        ("POST", "/x"), ("POST", "/moved?x=1")]
    assert hook.requests[1].json["title"] == HELLO.title


def test_a_redirect_to_another_host_takes_no_secrets_along(
    pair: tuple[Receiver, Receiver]
) -> None:
    public, other = pair
    public.answers = [plainly(307, Location=other.url("/there"))]
    send(f"json://u:{SECRET}@127.0.0.2:{public.port}/x?+X-Key={SECRET}",
         Reach.of(("127.0.0.1", "127.0.0.2")))
    assert SECRET in public.requests[0].headers["X-Key"]
    (request,) = other.requests
    assert not {"X-Key", "Authorization"} & set(request.headers)


@pytest.mark.parametrize("location", [
    "http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "http://0x7f000001:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://127.0.0.2@127.0.0.1:{port}/",
    "http://u:p@127.0.0.2:{port}/", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x",
    "http://localhost:{port}/", "http:\\\\127.0.0.1:{port}/",
])
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_that_leads_where_it_may_not_is_not_followed(
    pair: tuple[Receiver, Receiver], location: str, status: int
) -> None:
    public, private = pair
    public.answers = [plainly(status, Location=location.format(port=private.port))]
    with pytest.raises(AlertError):
        send(public.url("/x", "json"), FIRST)
    assert (len(public.requests), private.connections) == (1, 0)


def test_apprise_follows_no_redirect(pair: tuple[Receiver, Receiver]) -> None:
    public, private = pair
    public.answers = [plainly(307, Location=private.url("/there"))]
    with pytest.raises(ChannelError):
        send(f"mmost://127.0.0.2:{public.port}/abcdefghijklmnopqrstuvwxyz?redirect=yes",
             Reach.of(("127.0.0.1", "127.0.0.2")))
    assert (len(public.requests), private.connections) == (1, 0)


def test_redirects_without_end_are_given_up_after_three(hook: Receiver) -> None:
    hook.answers = [plainly(307, Location="/x")]
    with pytest.raises(ChannelError, match="redirected more than 3 times"):
        send(hook.url("/x", "json"))
    assert len(hook.requests) == 4


def test_see_other_is_asked_for_without_the_message(hook: Receiver) -> None:
    hook.answers = [plainly(303, Location="/done"), plainly(200)]
    send(hook.url("/x", "json"))
    assert [(each.method, len(each.body) > 0) for each in hook.requests] == [
        ("POST", True), ("GET", False)]


# ---- bounds


HEAD = b"HTTP/1.1 %d X\r\nContent-Type: text/plain\r\n\r\n"


def test_a_reply_without_end_is_cut(hook: Receiver) -> None:
    hook.answers = [endlessly(HEAD % 200, b"x" * 65_536)]
    send(hook.url("/x", "json"), timeout_s=20.0)
    assert hook.cut.wait(10)
    hook.answers = [endlessly(HEAD % 500, b"x" * 65_536)]
    with pytest.raises(ChannelError, match=r"answered 500 X: x{300}… \(") as caught:
        send(hook.url("/x", "json"), timeout_s=20.0)
    assert len(str(caught.value)) < 500


def test_a_reply_that_claims_ten_gigabytes_is_not_waited_for(hook: Receiver) -> None:
    hook.answers = [endlessly(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", b"x")]
    send(hook.url("/x", "json"), timeout_s=20.0)
    assert hook.cut.wait(10)


@pytest.mark.parametrize("start, more, pause_s", [
    (b"", b"x", 0.05), (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05), (b"", b"", 0.05),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01), (HEAD % 500, b"x", 0.05),
])
def test_a_reply_that_drips_takes_no_longer_than_its_time(
    hook: Receiver, start: bytes, more: bytes, pause_s: float
) -> None:
    hook.answers = [endlessly(start, more, pause_s)]
    began = datetime.now(UTC)
    with pytest.raises(ChannelError):
        send(hook.url("/x", "json"), timeout_s=0.7)
    assert datetime.now(UTC) - began < timedelta(seconds=5)


@pytest.mark.parametrize("start, more", [
    (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65_536), (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    (b"nonsense\r\n\r\n", b""),
])
def test_heads_without_end_and_nonsense_are_errors(
    hook: Receiver, start: bytes, more: bytes
) -> None:
    hook.answers = [endlessly(start, more, 0.0 if more else 0.05)]
    with pytest.raises(ChannelError, match="gave no answer"):
        send(hook.url("/x", "json"), timeout_s=20.0)


def _certificate(folder: Path, name: str) -> tuple[str, str]:
    """Return the files of a certificate for a name, signed by itself, and of its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256()))
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return str(files[0]), str(files[1])
