"""How figures look."""

from django import template

from relay.statistics import words
from relay.statistics.alerts import percent_in_words

register = template.Library()
register.filter("percent", words.percent)
register.filter("duration", words.duration)


@register.filter
def share_of(count: int, of: int) -> str:
    return percent_in_words(count / of) if of else "–"
