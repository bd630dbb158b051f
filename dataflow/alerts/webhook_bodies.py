"""A message as the body of a request: JSON, a form, XML. Pure.

Lives here: the three forms, with apprise's names for what is in them. Does not
live here: what is said (``text.py``), where it goes (``webhooks.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

from dataflow.alerts.text import Text

VERSION = "1.0"
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


def encoded(kind: str, text: Text, extras: Mapping[str, str]) -> tuple[str, bytes]:
    """Return the content type and the bytes of a message.

    Parameters
    ----------
    kind
        ``"form"``, ``"xml"``, else JSON.
    extras
        What the channel's URL adds.
    """
    if kind == "form":
        fields = _fields(text) | dict(extras)
        return "application/x-www-form-urlencoded", urlencode(fields, errors="replace").encode()
    if kind == "xml":
        return "application/xml; charset=utf-8", _xml(text, extras)
    content = json.dumps(body_of(text) | dict(extras), ensure_ascii=False)
    return "application/json; charset=utf-8", content.encode("utf-8", "replace")


def body_of(text: Text) -> dict[str, Any]:
    """Return the JSON body: the keys of apprise's, and ``alert`` with the same as data.

    ``text`` is there too, so that what expects a message of Slack's shows one.
    """
    return {**_fields(text), "text": f"{text.title}\n{text.body}", "attachments": [],
            "alert": text.data}


def _fields(text: Text) -> dict[str, str]:
    return {"version": VERSION, "title": text.title, "message": text.body, "type": text.severity}


def _xml(text: Text, extras: Mapping[str, str]) -> bytes:
    envelope = Element("soapenv:Envelope", {"xmlns:soapenv": _SOAP})
    notification = SubElement(SubElement(envelope, "soapenv:Body"), "Notification")
    names = {"Version": VERSION, "Subject": text.title, "MessageType": text.severity,
             "Message": text.body}
    for name, value in (names | {each: extras[each] for each in extras if each.isidentifier()}
                        ).items():
        SubElement(notification, name).text = value
    return bytes(tostring(envelope, encoding="utf-8", xml_declaration=True))
