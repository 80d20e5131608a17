"""Operators' page of an organization, with what its mail tells."""

from django.contrib import admin

from accounts.models import Organization
from accounts.organization_admin import OrganizationAdmin

admin.site.register(Organization, OrganizationAdmin)
