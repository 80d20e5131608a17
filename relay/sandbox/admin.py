"""The sandbox's zone and mailbox, for looking at."""

from django.contrib import admin

from accounts.admin_lists import GrowingTableAdmin
from accounts.admin_words import OperatorsAdmin
from relay.sandbox.models import ReceivedMail, ZoneFault, ZoneRecord


@admin.register(ZoneRecord)
class ZoneRecordAdmin(OperatorsAdmin):
    """Records may be changed by hand: that is how DNS mistakes are tried out."""

    list_display = ["name", "type", "value"]
    list_filter = ["type"]
    search_fields = ["name", "value"]


@admin.register(ZoneFault)
class ZoneFaultAdmin(OperatorsAdmin):
    list_display = ["name", "kind", "role", "server", "until"]
    list_filter = ["kind", "role"]
    search_fields = ["name"]


@admin.register(ReceivedMail)
class ReceivedMailAdmin(GrowingTableAdmin):
    list_display = ["received_at", "subject", "header_from", "recipients", "dkim", "tls"]
    list_filter = ["dkim"]
    fields = [
        "id",
        "received_at",
        "envelope_sender",
        "recipients",
        "subject",
        "header_from",
        "dkim",
        "dkim_domain",
        "dkim_signatures",
        "tls",
        "helo",
    ]
