"""What changes organizations and their people."""

from django.db import transaction

from accounts.models import Membership, Organization, Role, User


@transaction.atomic
def create_organization(name: str, owner: User) -> Organization:
    """A new organization with its first owner."""
    organization = Organization.objects.create(name=name.strip())
    Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
    return organization


def change_settings(organization: Organization, *, name: str, safe_resend: bool) -> None:
    organization.name, organization.safe_resend = name.strip(), safe_resend
    organization.save(update_fields=["name", "safe_resend"])
