"""What reads sending domains for more than one purpose."""

from collections.abc import Sequence
from uuid import UUID

from domains.models import SendingDomain


def foreign_tokens(domains: Sequence[SendingDomain]) -> dict[UUID, frozenset[str]]:
    """The ownership tokens that other organizations have for the same names, by the id of the domain. One statement."""
    rows = SendingDomain.objects.filter(name__in={domain.name for domain in domains})
    held = list(rows.values_list("name", "organization_id", "ownership_token"))
    return {
        domain.pk: frozenset(
            token for name, holder, token in held if name == domain.name and holder != domain.organization_id
        )
        for domain in domains
    }
