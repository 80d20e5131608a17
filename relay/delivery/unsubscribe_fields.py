"""List-Unsubscribe (RFC 2369, 3.2) and List-Unsubscribe-Post (RFC 8058), for one recipient of a message of a stream. No I/O."""

from __future__ import annotations

import re

from relay.delivery.queue import Claimed
from relay.suppressing.unsubscribe_tokens import Wish, unsubscribe_address, unsubscribe_url

_THEIRS = re.compile(rb"^list-unsubscribe(?:-post)?[ \t]*:", re.I | re.M)


def with_unsubscribe(content: bytes, claimed: Claimed, domain: str) -> bytes:
    """`content` with both fields in front, to be signed; as it is where it has no stream or such a field of its sender's.

    `domain`: the sending domain, on whose return-path name mail to unsubscribe arrives.
    """
    if not claimed.stream or _THEIRS.search(content.partition(b"\r\n\r\n")[0]):
        return content
    wish = Wish(claimed.organization_id, claimed.message_id, claimed.suppressible, claimed.stream)
    url, address = unsubscribe_url(wish), unsubscribe_address(claimed.id, domain)
    fields = (
        f"List-Unsubscribe: <{url}>,\r\n <mailto:{address}?subject=unsubscribe>\r\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
    return fields.encode() + content
