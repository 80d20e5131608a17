"""Who comes in at a door: what an API key, alone or as an SMTP user's password, stands for."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from accounts.catalogue import Refused


@dataclass(frozen=True, slots=True)
class Credential:
    """Who submits: what an API key, alone or as an SMTP user's password, stands for."""

    organization_id: UUID
    is_suspended: bool
    api_key_id: UUID | None
    smtp_user_id: UUID | None
    scopes: frozenset[str]
    only_domain: str  # A-label; empty: every verified domain of the organization
    safe_resend: bool = False  # the organization's wish (recognised by relay.submission.once)
    show_client_address: bool = False  # the organization's wish
    message_octets: int | None = None  # the organization's own limit; None: the platform's
    api_rate_limit: int | None = None  # REST requests per second, the organization's own limit; None: the platform's

    is_authenticated = True  # what DRF asks of a request's user

    def check_may_send(self) -> None:
        if self.is_suspended:
            raise Refused("organization_suspended")
        self.check_may("send")

    def check_may(self, scope: str) -> None:
        """`full` includes every other scope. Raises `Refused`."""
        if not self.scopes & {scope, "full"}:
            raise Refused("insufficient_scope", scope=scope)

    def check_may_send_from(self, address: str, sending_domain: str) -> None:
        """`sending_domain`: which of the organization's domains covers the address. Raises `Refused`."""
        if self.only_domain and sending_domain != self.only_domain:
            raise Refused("sender_not_allowed", address=address, domain=self.only_domain)
