"""What changes organizations and their people."""

from django.db import transaction

from accounts.models import Membership, Organization, Plan, Role, User


@transaction.atomic
def create_organization(name: str, owner: User) -> Organization:
    """A new organization with its first owner."""
    organization = Organization.objects.create(name=name.strip(), plan=Plan.objects.filter(is_default=True).first())
    Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
    return organization


def change_settings(organization: Organization, **values: object) -> None:
    """`values`: fields of the organization (`accounts.forms.SettingsForm`)."""
    for name, value in values.items():
        setattr(organization, name, value.strip() if isinstance(value, str) else value)
    organization.save(update_fields=list(values))
