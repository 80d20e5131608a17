"""What changes organizations and their people."""

from django.db import transaction

from accounts.models import Membership, Organization, Role, User


@transaction.atomic
def create_organization(name: str, owner: User) -> Organization:
    """A new organization with its first owner."""
    organization = Organization.objects.create(name=name.strip())
    Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
    return organization


def rename_organization(organization: Organization, name: str) -> None:
    organization.name = name.strip()
    organization.save(update_fields=["name"])
