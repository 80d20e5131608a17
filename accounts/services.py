"""What changes organizations and their people."""

from django.db import transaction
from django.utils import timezone

from accounts.audit import SYSTEM, Actor, differences, note
from accounts.feature_settings import value_of
from accounts.models import Membership, Organization, Plan, ReviewCause, Role, User
from accounts.notices import notify_address
from accounts.second_factor import among


@transaction.atomic
def create_organization(name: str, owner: User, *, by: Actor = SYSTEM) -> Organization:
    """A new organization with its first owner."""
    review = {"review_since": timezone.now(), "review_cause": ReviewCause.NEW} if value_of("review_new") else {}
    organization = Organization.objects.create(
        name=name.strip(), plan=Plan.objects.filter(is_default=True).first(), **review
    )
    Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
    after = {"name": organization.name, "owner": owner.email, "plan": organization.plan}
    note(by, "organization.created", organization, organization_id=organization.pk, after=after)
    return organization


@transaction.atomic
def change_settings(organization: Organization, *, by: Actor = SYSTEM, **values: object) -> None:
    """`values`: fields of the organization (`accounts.forms.SettingsForm`)."""
    current = Organization.objects.of(organization).select_for_update(no_key=True).get()
    wanted = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
    before, after = differences({name: getattr(current, name) for name in wanted}, wanted)
    for name, value in wanted.items():
        setattr(organization, name, value)
    if after:
        organization.save(update_fields=list(after))
        note(by, "organization.changed", organization, organization_id=organization.pk, before=before, after=after)


@transaction.atomic
def require_second_factor(organization: Organization, wanted: bool, *, by: Actor) -> None:
    """Members without one see nothing of the organization until they have set one up; API keys go on."""
    locked = Organization.objects.of(organization).select_for_update(no_key=True).get()
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
