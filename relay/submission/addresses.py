"""Mail addresses at the door: told valid or not, and split (RFC 5321, 4.1.2; RFC 5322, 3.4). No I/O."""

import re
from email.policy import default as policy
from functools import lru_cache
from typing import Any, cast

from email_validator import EmailNotValidError, validate_email

LONGEST = 254  # octets of a path without its brackets, RFC 5321, 4.5.3.1.3

# The two forms that nearly all mail has; whatever is less plain goes to the full grammar.
_BARE = re.compile(r"[^\s<>()\[\]\\,;:\"@]+@[^\s<>()\[\]\\,;:\"@]+")
_NAMED = re.compile(rf'(?:"(?P<quoted>[^"\\<>@]*)"|(?P<plain>[^"\\<>()\[\],;:@]*))\s*<(?P<address>{_BARE.pattern})>')


# A local part of which there is nothing to judge: a dot-atom in ASCII (RFC 5321, 4.1.2).
_PLAIN_LOCAL = re.compile(r"(?!.{65})[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.I | re.ASCII)


def parse_address(address: str) -> tuple[str, str] | None:
    """(local part, domain as lower-case A-label), or None when this is no address that mail can be sent to."""
    # Recipients differ and their domains recur: looking at the domain alone, once, spares most of the work.
    local_part, _, domain = address.rpartition("@")
    if len(domain) < 180 and _PLAIN_LOCAL.fullmatch(local_part):
        parsed = _validated(f"a@{domain}")
        return (local_part, parsed[1]) if parsed else None
    return _validated(address)


@lru_cache(maxsize=20_000)
def _validated(address: str) -> tuple[str, str] | None:
    try:
        parsed = validate_email(
            address, check_deliverability=False, test_environment=True, allow_smtputf8=True, allow_quoted_local=True
        )
    except EmailNotValidError:
        return None
    if len(address.encode()) > LONGEST:
        return None
    return parsed.local_part, parsed.ascii_domain.lower()


def domain_of(address: str) -> str | None:
    """The address's domain as lower-case A-label, or None when the address is not valid."""
    parsed = parse_address(address)
    return parsed[1] if parsed else None


def parse_mailboxes(text: str) -> list[tuple[str, str]] | None:
    """(display name, address) of each mailbox in an unfolded address list, or None when it cannot be read for certain.

    Lenient parsers disagree about malformed lists, and then the sender that is checked is not the one that is shown.
    """
    text = text.strip()
    if _BARE.fullmatch(text):
        return [("", text)]
    if named := _NAMED.fullmatch(text):
        return [((named["quoted"] or named["plain"] or "").strip(), named["address"])]
    try:
        header = cast(Any, policy.header_factory("To", text))
        mailboxes = [(address.display_name, address.addr_spec) for address in header.addresses]
    except (ValueError, IndexError, AttributeError):  # what the standard library's parser raises on some input
        return None
    # Of the parser's complaints only the obsolete forms of RFC 5322 (4.4) leave no doubt about the address.
    doubtful = [defect for defect in header.defects if "Obsolete" not in type(defect).__name__]
    return None if doubtful else mailboxes
