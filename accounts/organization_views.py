"""Pages of people about their organizations: making one, going from one to another, joining by an invitation."""

from typing import Any
from uuid import UUID

from allauth.account.adapter import get_adapter
from allauth.account.views import SignupView
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations, second_factor
from accounts.audit import actor_of
from accounts.forms import OrganizationForm
from accounts.http import next_page
from accounts.member_forms import InvitedSignupForm
from accounts.members import MembersRefused
from accounts.middleware import choose_organization, membership_of, memberships_of
from accounts.models import Invitation, User
from accounts.services import create_organization


@login_required
def organization_create(request: HttpRequest) -> HttpResponse:
    """One more, or the first of somebody who has none."""
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        assert request.user.is_authenticated
        choose_organization(request, create_organization(form.cleaned_data["name"], request.user, by=actor_of(request)))
        return redirect("overview")
    return render(request, "accounts/organization_create.html", {"form": form})


@require_POST
@login_required
def organization_open(request: HttpRequest, organization_id: UUID) -> HttpResponse:
    """The session goes on in another of one's organizations, at the page `next`."""
    membership = next((one for one in memberships_of(request) if one.organization_id == organization_id), None)
    if membership is None:
        raise Http404
    choose_organization(request, membership.organization)
    return redirect(next_page(request, "overview"))


@login_required
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """For members of an organization that asks for a second factor, until they have one. Leads on to the page `next`."""
    membership = membership_of(request)
    if membership is None or not second_factor.is_missing(membership):
        return redirect(next_page(request, "overview"))
    others = [one for one in memberships_of(request) if one.pk != membership.pk]
    context = {"membership": membership, "others": others, "set_up_url": second_factor.set_up_url()}
    return render(request, "accounts/second_factor.html", context)


# ---- Joining ---------------------------------------------------------------------------------------------------------


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """What the link in the mail opens. GET changes nothing: programs that look at mails follow links, too."""
    found = invitations.find(secret)
    if found is None or not found.is_open:
        return _not_open(request, found)
    user = request.user
    is_theirs = user.is_authenticated and invitations.is_for(found, user)
    if request.method == "POST" and user.is_authenticated and is_theirs:
        try:
            member = invitations.accept(found, user, by=actor_of(request))
        except MembersRefused as refused:
            found.refresh_from_db()
            if not found.is_open:
                return _not_open(request, found)
            messages.error(request, refused.detail)
            return redirect("invitation", secret)
        choose_organization(request, member.organization)
        messages.success(request, f"You are a member of {member.organization.name} now.")
        return redirect("overview")
    context = {"invitation": found, "is_theirs": is_theirs, "here": request.path, "secret": secret}
    return render(request, "accounts/invitation.html", context)


class InvitedSignup(SignupView):
    """Signing up by an invitation's link, which proves the address; the new person is a member at once."""

    template_name = "accounts/invited_signup.html"
    invitation: Invitation

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        found = invitations.find(kwargs["secret"])
        if found is None or not found.is_open or request.user.is_authenticated:
            return redirect("invitation", kwargs["secret"])
        self.invitation = found
        request.is_invited = True  # type: ignore[attr-defined]  # for the adapter, which lets them in though sign-ups are closed
        return super().dispatch(request, *args, **kwargs)

    def get_form_class(self) -> type[InvitedSignupForm]:
        return InvitedSignupForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"invitation": self.invitation, "initial": {"email": self.invitation.email}}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"invitation": self.invitation, "secret": self.kwargs["secret"]}

    def get_success_url(self) -> str:
        return reverse("overview")

    def form_valid(self, form: InvitedSignupForm) -> Any:
        adapter = get_adapter()
        adapter.stash_verified_email(self.request, self.invitation.email)
        try:
            return super().form_valid(form)
        except MembersRefused as refused:  # it ended meanwhile, or has no place; the account was not made
            self.invitation.refresh_from_db()
            if self.invitation.is_open:
                messages.error(self.request, refused.detail)
            return redirect("invitation", self.kwargs["secret"])
        finally:
            adapter.unstash_verified_email(self.request)


def _not_open(request: HttpRequest, found: Invitation | None) -> HttpResponse:
    """410 (Gone, RFC 9110, 15.5.11) for one that was good once."""
    user = request.user
    is_member = (
        found is not None
        and isinstance(user, User)
        and any(one.organization_id == found.organization_id for one in memberships_of(request))
    )
    context = {"invitation": found, "is_member": is_member}
    return render(request, "accounts/invitation_not_open.html", context, status=410 if found else 404)
