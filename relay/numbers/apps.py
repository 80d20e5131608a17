from django.apps import AppConfig


class NumbersConfig(AppConfig):
    name = "relay.numbers"
    label = "numbers"
