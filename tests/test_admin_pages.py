"""The operators' admin: opens on every model, keeps promises, shows no secrets."""

import pytest
from django.contrib import admin
from django.contrib.admin.options import ModelAdmin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from accounts.admin_lists import GrowingTableAdmin
from accounts.models import ApiKey, Organization, User
from domains.models import DkimKey, SendingDomain
from events.models import Event
from plugsend.admin_navigation import place_of
from relay.models import Content, Message, Recipient
from relay.sandbox.models import ReceivedMail
from tests.factories import make_domain, make_message, make_smtp_user, make_tenant

pytestmark = pytest.mark.django_db

APPEND_ONLY = [Message, Recipient, Content, Event, ReceivedMail]


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator@people.test", "correct-horse-battery"))
    return client


@pytest.fixture
def message() -> Message:
    domain = make_domain(make_tenant().organization)
    return make_message(domain, smtp_user_id=make_smtp_user(domain).pk)


def _url(model: type, view: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)  # type: ignore[attr-defined]


def test_members_have_no_way_in() -> None:
    assert make_tenant().client.get("/admin/").status_code == 302


@pytest.mark.parametrize("model", list(admin.site._registry), ids=lambda model: model.__name__)
def test_each_list_and_each_row_opens(model: type, operator: Client, message: Message) -> None:
    assert operator.get(_url(model, "changelist")).status_code == 200
    for row in model._default_manager.all()[:1]:  # type: ignore[attr-defined]
        assert operator.get(_url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", APPEND_ONLY, ids=lambda model: model.__name__)
def test_nothing_is_added_changed_or_deleted_in_growing_tables(model: type, operator: Client, message: Message) -> None:
    row = model._default_manager.first()  # type: ignore[attr-defined]
    assert operator.get(_url(model, "add")).status_code == 403
    if row:
        assert operator.post(_url(model, "change", row.pk), {"address": "x"}).status_code == 403
        assert operator.post(_url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert isinstance(admin.site._registry[model], GrowingTableAdmin)


def test_no_list_counts_a_growing_table(message: Message) -> None:
    for model in APPEND_ONLY:
        model_admin: ModelAdmin = admin.site._registry[model]
        assert model_admin.show_full_result_count is False
        paginator = model_admin.get_paginator(None, model._default_manager.order_by("-id"), 50)  # type: ignore[arg-type,attr-defined]
        assert paginator.count <= 1000


def test_search_finds_all_rows_of_a_message(operator: Client, message: Message) -> None:
    for model in (Message, Recipient, Event):
        page = operator.get(_url(model, "changelist"), {"q": str(message.pk)}).content.decode()
        assert str(message.pk) in page
    answer = operator.get(_url(Event, "changelist"), {"q": "not an id"}).content.decode()
    assert "That is not an id" in answer


def test_no_secret_is_shown(operator: Client, message: Message) -> None:
    key, dkim = ApiKey.objects.get(), DkimKey.objects.all()[0]
    pages = (
        operator.get(_url(ApiKey, "change", key.pk)).content
        + operator.get(_url(SendingDomain, "change", dkim.domain_id)).content
    )

    assert bytes(key.digest).hex().encode() not in pages
    assert b"digest" not in pages
    assert b"private_key" not in pages


def test_a_key_is_revoked_by_an_action(operator: Client, message: Message) -> None:
    key = ApiKey.objects.get()
    operator.post(_url(ApiKey, "changelist"), {"action": "revoke", "_selected_action": [str(key.pk)]})
    key.refresh_from_db()
    assert key.is_revoked


def test_an_operator_makes_a_person_who_can_sign_in(operator: Client) -> None:
    form = {"email": "New@People.test", "password": "correct-horse-battery"}
    assert operator.post(_url(User, "add"), form).status_code == 302
    assert User.objects.get(email="new@people.test").check_password("correct-horse-battery")


@pytest.mark.parametrize("model", list(admin.site._registry), ids=lambda model: model.__name__)
def test_each_model_stands_in_the_sidebar(model: type) -> None:
    assert place_of(f"{model._meta.app_label}.{model._meta.model_name}")  # type: ignore[attr-defined]


def test_lists_are_filtered_by_state_and_door(operator: Client, message: Message) -> None:
    domain = SendingDomain.objects.get(pk=message.domain_id)
    own = make_domain(Organization.objects.get_or_create(is_system=True, defaults={"name": "PlugSend"})[0], "own.test")
    make_message(domain, to="late@inbox.test", state="deferred")
    make_message(domain, to="gone@inbox.test", state="bounced")
    ours = make_message(own, to="code@people.test", door="platform")

    def found(model: type, **query: str) -> set[str]:
        return {str(row) for row in operator.get(_url(model, "changelist"), query).context["cl"].result_list}

    assert found(Recipient, state__exact="deferred") == {"late@inbox.test"}
    assert found(Recipient, state__exact="bounced") == {"gone@inbox.test"}
    assert found(Message, door__exact="platform") == {str(ours.pk)}
    assert str(ours.pk) not in found(Message, door__exact="smtp")


def test_a_message_tells_what_became_of_it_and_a_recipient_what_can_be_done(operator: Client, message: Message) -> None:
    late = make_message(SendingDomain.objects.get(pk=message.domain_id), to="late@inbox.test", state="deferred")
    recipients = {one.message_id: one for one in Recipient.objects.all()}
    page = operator.get(_url(Message, "change", late.pk)).content.decode()
    assert _url(Recipient, "change", recipients[late.pk].pk) in page
    hold = reverse("admin:relay_recipient_all", args=["hold"])
    open_page = operator.get(_url(Recipient, "change", recipients[late.pk].pk)).content.decode()
    assert f"{hold}?q={recipients[late.pk].pk}" in open_page
    assert hold not in operator.get(_url(Recipient, "change", recipients[message.pk].pk)).content.decode()
    assert "Hold 1 recipient?" in operator.get(hold, {"q": str(recipients[late.pk].pk)}).content.decode()


def test_a_group_keeps_the_rights_that_its_form_does_not_show(operator: Client) -> None:
    group = Group.objects.create(name="Night shift")
    hidden = Permission.objects.get(content_type__app_label="sessions", codename="view_session")
    shown = Permission.objects.get(content_type__app_label="relay", codename="view_message")
    group.permissions.set([hidden])
    form = operator.get(_url(Group, "change", group.pk)).context["adminform"].form
    offered = [int(key) for _, rights in form.fields["permissions"].choices for key, _ in rights]
    assert shown.pk in offered
    assert hidden.pk not in offered
    operator.post(_url(Group, "change", group.pk), {"name": "Night shift", "permissions": [shown.pk]})
    assert set(group.permissions.all()) == {hidden, shown}


def test_pages_are_sent_compressed_but_not_what_customers_wrote(operator: Client, message: Message) -> None:
    takes = {"HTTP_ACCEPT_ENCODING": "gzip"}
    assert operator.get(_url(Message, "changelist"), **takes).headers["Content-Encoding"] == "gzip"  # type: ignore[arg-type]
    content = operator.post(
        reverse("admin:relay_message_read_content", args=[message.pk]), {"reason": "a case"}, **takes
    )  # type: ignore[arg-type]
    assert "Header" in content.content.decode()
    assert "Content-Encoding" not in content.headers
