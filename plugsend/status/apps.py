from django.apps import AppConfig


class StatusConfig(AppConfig):
    name = "plugsend.status"
    label = "status"
    verbose_name = "Status"
