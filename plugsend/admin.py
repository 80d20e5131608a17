"""The name over the operators' admin."""

from django.contrib import admin

admin.site.site_header = "PlugSend"
admin.site.site_title = "PlugSend admin"
admin.site.index_title = "Operators"
admin.site.site_url = "/overview/"
