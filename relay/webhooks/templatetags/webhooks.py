"""What happened to deliveries, for pages."""

from django import template

from relay.webhooks.troubles import trouble_of

register = template.Library()
register.filter("trouble", trouble_of)
