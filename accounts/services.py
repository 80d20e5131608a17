"""What changes organizations and their people."""

from django.db import transaction

from accounts.audit import Actor, note
from accounts.models import Membership, Organization, Plan, Role, User
from accounts.notices import notify_address
from accounts.second_factor import among


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


@transaction.atomic
def require_second_factor(organization: Organization, wanted: bool, *, by: Actor) -> None:
    """Members without one see nothing of the organization until they have set one up; API keys go on."""
    locked = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if locked.require_mfa == wanted:
        return
    locked.require_mfa = organization.require_mfa = wanted
    locked.save(update_fields=["require_mfa"])
    action = "organization.second_factor_required" if wanted else "organization.second_factor_optional"
    changed = {"before": {"require_mfa": not wanted}, "after": {"require_mfa": wanted}}
    note(by, action, locked, organization_id=locked.pk, **changed)
    if wanted:
        users = [one.user for one in locked.memberships.select_related("user")]
        protected = among(users)
        for user in users:
            if user.pk not in protected:
                notify_address(locked, user.email, "second_factor_required", who=by.name)
