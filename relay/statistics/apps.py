from django.apps import AppConfig


class StatisticsConfig(AppConfig):
    name = "relay.statistics"
    label = "statistics"
