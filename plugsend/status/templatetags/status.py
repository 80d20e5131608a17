"""Lengths of time as operators read them."""

from django import template

register = template.Library()


@register.filter
def seconds(value: float) -> str:
    """In the two largest units: 2 h 5 min."""
    if value < 1:
        return "0 s" if value <= 0 else f"{value * 1000:.0f} ms"
    whole = round(value)
    for unit_s, unit, lesser_s, lesser in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // lesser_s
            return f"{whole // unit_s} {unit}" + (f" {rest} {lesser}" if rest else "")
    return f"{whole} s"
