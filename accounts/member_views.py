"""Pages about an organization's members and invitations."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations, members, second_factor, services
from accounts.audit import actor_of
from accounts.http import OrganizationRequest, expect_it_is_they, member_required, shown_again_required
from accounts.member_forms import InviteForm, RoleForm
from accounts.members import MembersRefused
from accounts.models import Membership, Role
from accounts.permissions import PERMISSIONS, Permission

ORDER = {role: place for place, role in enumerate(Role)}


@member_required(Permission.READ)
def member_list(request: OrganizationRequest) -> HttpResponse:
    """Who belongs to the organization. Invitations and second factors are shown to those who manage members."""
    acting = request.membership
    theirs = sorted(_members(request), key=lambda one: (ORDER[Role(one.role)], one.created_at))
    manages = acting.may(Permission.MANAGE_MEMBERS)
    protected = second_factor.among(one.user for one in theirs) if manages else None
    rows = [
        {
            "member": one,
            "is_you": one.pk == acting.pk,
            "may_change": members.may_change(acting, one),
            "has_second_factor": None if protected is None else one.user_id in protected,
        }
        for one in theirs
    ]
    context = {
        "rows": rows,
        "invitations": invitations.waiting_for(request.organization) if manages else [],
        "roles_to_give": members.roles_to_give(acting),
    }
    return render(request, "accounts/members.html", context)


@member_required(Permission.READ)
def roles_page(request: OrganizationRequest) -> HttpResponse:
    """What each role may do, from the table itself."""
    rows = [(permission.in_words, [permission in PERMISSIONS[role] for role in Role]) for permission in Permission]
    return render(request, "accounts/roles.html", {"rows": rows, "roles": list(Role)})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_MEMBERS)
def member_role(request: OrganizationRequest, member_id: UUID) -> HttpResponse:
    member = _member(request, member_id)
    form = RoleForm(
        members.roles_to_give(request.membership),
        request.POST if request.method == "POST" else None,
        initial={"role": member.role},
    )
    if request.method == "POST" and form.is_valid():
        if Role.OWNER in (member.role, form.role()):
            expect_it_is_they(request)
        try:
            member = members.change_role(request.membership, member.pk, form.role(), by=actor_of(request))
        except MembersRefused as refused:
            form.add_error(None, refused.detail)
        else:
            messages.success(request, f"{member.user.email} is {_a_role(member)} now.")
            return redirect("members")
    context = {"member": member, "form": form, "may_change": members.may_change(request.membership, member)}
    return render(request, "accounts/member_role.html", context)


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_MEMBERS)
def member_remove(request: OrganizationRequest, member_id: UUID) -> HttpResponse:
    """GET asks, POST does."""
    member = _member(request, member_id)
    if member.pk == request.membership.pk:
        return redirect("member_leave")
    if request.method == "POST":
        if member.is_owner:
            expect_it_is_they(request)
        try:
            members.remove_member(request.membership, member.pk, by=actor_of(request))
        except MembersRefused as refused:
            messages.error(request, refused.detail)
        else:
            messages.success(request, f"{member.user.email} is removed and has no access any more.")
        return redirect("members")
    return render(request, "accounts/member_remove.html", {"member": member})


@require_http_methods(["GET", "POST"])
@member_required(Permission.READ, while_deleted=True)
def member_leave(request: OrganizationRequest) -> HttpResponse:
    """GET asks, POST does."""
    if request.method == "POST":
        try:
            members.leave(request.membership, by=actor_of(request))
        except MembersRefused as refused:
            messages.error(request, refused.detail)
            return redirect("members")
        messages.success(request, f"You have left {request.organization.name}.")
        return redirect("overview")
    return render(request, "accounts/member_leave.html")


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_OWNERS)
@shown_again_required
def hand_over(request: OrganizationRequest, member_id: UUID) -> HttpResponse:
    """GET asks, POST does; both only shortly after the owner has shown anew who it is."""
    member = _member(request, member_id)
    if request.method == "POST":
        try:
            members.hand_over(request.membership, member.pk, by=actor_of(request))
        except MembersRefused as refused:
            messages.error(request, refused.detail)
        else:
            messages.success(request, f"{member.user.email} is the owner now, and you are an admin.")
        return redirect("members")
    return render(request, "accounts/hand_over.html", {"member": member})


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_SIGN_IN)
@shown_again_required
def require_second_factor(request: OrganizationRequest) -> HttpResponse:
    """Whether every member must have a second factor. GET tells what it means, POST turns it on or off."""
    has_one = second_factor.has_second_factor(request.user)
    if request.method == "POST":
        wanted = "require" in request.POST
        if wanted and not has_one:
            messages.error(request, "Set up a second factor or a passkey of your own first.")
            return redirect("require_second_factor")
        services.require_second_factor(request.organization, wanted, by=actor_of(request))
        messages.success(
            request,
            "Every member needs a second factor from now on."
            if wanted
            else "A second factor is up to each member now.",
        )
        return redirect("members")
    users = [one.user for one in _members(request)]
    protected = second_factor.among(users)
    context = {
        "has_one": has_one,
        "set_up_url": second_factor.set_up_url(),
        "without": sorted(user.email for user in users if user.pk not in protected),
    }
    return render(request, "accounts/require_second_factor.html", context)


# ---- Invitations -----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@member_required(Permission.MANAGE_MEMBERS)
def invite(request: OrganizationRequest) -> HttpResponse:
    form = InviteForm(
        members.roles_to_give(request.membership),
        request.POST if request.method == "POST" else None,
        initial={"role": Role.DEVELOPER},
    )
    if request.method == "POST" and form.is_valid():
        if form.role() == Role.OWNER:
            expect_it_is_they(request)
        try:
            invited = invitations.invite(
                request.membership, form.cleaned_data["addresses"], form.role(), by=actor_of(request)
            )
        except MembersRefused as refused:
            form.add_error(None, refused.detail)
        else:
            if invited.invitations:
                whom = ", ".join(one.email for one in invited.invitations)
                messages.success(request, f"Invited: {whom}. The link in the mail is good for 7 days.")
            if invited.members:
                messages.info(request, f"Member already: {', '.join(invited.members)}.")
            return redirect("members")
    return render(request, "accounts/invite.html", {"form": form})


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def invitation_resend(request: OrganizationRequest, invitation_id: UUID) -> HttpResponse:
    try:
        invitation = invitations.resend(request.membership, invitation_id, by=actor_of(request))
    except MembersRefused as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, f"A new link goes to {invitation.email}. The former one does not work any more.")
    return redirect("members")


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def invitation_revoke(request: OrganizationRequest, invitation_id: UUID) -> HttpResponse:
    try:
        invitation = invitations.revoke(request.membership, invitation_id, by=actor_of(request))
    except MembersRefused as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, f"The invitation of {invitation.email} is revoked. Its link does not work any more.")
    return redirect("members")


# ---- What they have in common ----------------------------------------------------------------------------------------


def _members(request: OrganizationRequest) -> list[Membership]:
    return list(request.organization.memberships.select_related("user"))


def _member(request: OrganizationRequest, member_id: UUID) -> Membership:
    member = request.organization.memberships.select_related("user").filter(pk=member_id).first()
    if member is None:
        raise Http404
    return member


def _a_role(member: Membership) -> str:
    word = member.get_role_display().lower()
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
