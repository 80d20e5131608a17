"""Templates and variables that try to take time or memory, to get out, or to break what reads them."""

from typing import Any

from relay.templating.press import Source

MANY = 250_000  # characters


def repeated(piece: str, octets: int = MANY) -> str:
    return piece * (octets // len(piece))


def styled(css: str, html: str) -> str:
    return f"<html><head><style>{css}</style></head><body>{html}</body></html>"


_HALF = MANY // 2
_DOUBLING = "{% assign a = 'x' %}" + "{% assign a = a | append: a %}" * 60
_SQUARING = "{% assign a = 9999999999 %}" + "{% assign a = a | times: a %}" * 40
_ROWS = [{"a": n, "b": str(n)} for n in range(2500)]

# What asks for too much: refused by a limit with a name, or ended by the kernel.
COSTLY: dict[str, tuple[Source, dict[str, Any]]] = {
    "a loop of 100 million": (Source(html="{% for i in (1..100000000) %}x{% endfor %}"), {}),
    "nested loops": (Source(html="{% for i in (1..900) %}" * 3 + "x" + "{% endfor %}" * 3), {}),
    "loops one after the other": (Source(html="{% for i in (1..5000) %}{{ i }}{% endfor %}" * 5000), {}),
    "silent loops": (Source(html="{% for i in (1..5000) %}{% assign a = i | times: i | minus: i %}{% endfor %}" * 2500), {}),
    "doubling text": (Source(html=_DOUBLING + "{{ a }}"), {}),
    "doubling captured text": (Source(html="{% capture a %}x{% endcapture %}"
                                           + "{% capture a %}{{ a }}{{ a }}{% endcapture %}" * 60), {}),
    "squaring numbers": (Source(html=_SQUARING + "{{ a }}"), {}),
    "replacing": (Source(html="{{ x | replace: 'x', x | replace: 'x', x }}"), {"x": "x" * 60_000}),
    "a giant list": (Source(html="{% assign a = x | split: '' %}" + "{{ a | sort | uniq | join: 'yyyyyyyyyy' }}" * 400),
                     {"x": "ab" * 30_000}),
    "quadratic uniq": (Source(html="{{ x | uniq | size }}" * 2000), {"x": _ROWS}),
    "a giant range": (Source(html="{{ (1..1000000000) | join: '' }}"), {}),
    "a giant range sorted": (Source(html="{{ (1..1000000000) | sort | size }}"), {}),
    "one rule with very many declarations": (
        Source(html=styled("*{" + "".join(f"a{n}:b;" for n in range(_HALF // 9)) + "}", repeated("<b></b>", _HALF))), {}),
    "very many rules on very many elements": (
        Source(html=styled(repeated("*{color:red}", _HALF), repeated("<b></b>", _HALF))), {}),
    "siblings of siblings": (Source(html=styled(repeated("b~b~b~b~b{color:red}", _HALF), repeated("<b></b>", _HALF))), {}),
    "fonts opened again and again": (
        Source(html=styled("b{c:d}", "<p>" + "".join(f"<font a{n}>" for n in range(9000)) + repeated("</p><p>x", _HALF))),
        {}),
}  # fmt: skip

# What crashes the libraries: their process dies, ours does not.
CRASHING: dict[str, tuple[Source, dict[str, Any]]] = {
    "deep elements": (Source(html=styled("b{c:d}", repeated("<div>"))), {}),
    "deep formatting": (Source(html=styled("b{c:d}", repeated("<b>"))), {}),
    "deep tables": (Source(html=styled("b{c:d}", repeated("<table><tr><td>"))), {}),
    "deep lists": (Source(html=styled("b{c:d}", repeated("<ul><li>"))), {}),
    "a selector without end": (Source(html=styled(repeated("b ", _HALF) + "{a:b}", repeated("<b>", _HALF))), {}),
}

# What is not easy, but must come to an end.
ODD: dict[str, tuple[Source, dict[str, Any]]] = {
    "unclosed raw": (Source(html=repeated("{%raw%}")), {}),
    "unclosed braces": (Source(html=repeated("{{")), {}),
    "unclosed tags": (Source(html=repeated("{%")), {}),
    "unclosed comments": (Source(html=repeated("{%comment%}")), {}),
    "half comments": (Source(html="{% comment %}" + repeated("{% comment")), {}),
    "blanks in braces": (Source(html="{{" + " " * MANY + "}}"), {}),
    "blanks in a tag": (Source(html="{% if" + " " * MANY + "%}"), {}),
    "deep blocks": (Source(html="{% if a %}" * 25_000), {"a": 1}),
    "deep indexes": (Source(html="{{ " + "a[" * 60_000 + "1" + "]" * 60_000 + " }}"), {"a": 1}),
    "a long condition": (Source(html="{% if " + "a and " * 40_000 + "a %}{% endif %}"), {"a": 1}),
    "very many filters": (Source(html="{{ 'a'" + " | upcase" * 25_000 + " }}"), {}),
    "very many quotes": (Source(html="{{ " + "'" * MANY + " }}"), {}),
    "very many brackets": (Source(html="{{ a" + "['" * (MANY // 2) + " }}"), {}),
    "very many ranges": (Source(html="{% for a in " + "(" * MANY + " %}{% endfor %}"), {}),
    "very many outputs": (Source(html=repeated("{{a}}")), {"a": 1}),
    "very many long outputs": (Source(html=repeated("{{a}}")), {"a": "x" * 60_000}),
    "very many cells": (Source(html="<table>" + repeated("<tr><td>x")), {}),
    "wide cells": (Source(html="<table><tr>" + repeated("<td colspan=1000>x")), {}),
    "tall cells": (Source(html="<table>" + "<tr>" + "<td>a<br>" * 50 + repeated("<tr><td>b")), {}),
    "very many attributes": (Source(html="<div " + " ".join(f"a{n}=1" for n in range(MANY // 9)) + ">"), {}),
    "very many links": (Source(html=repeated("<a href=x>")), {}),
    "open comments": (Source(html=repeated("<!--")), {}),
    "nothing but a comment": (Source(html="<!-- -->"), {}),
    "half a tag": (Source(html="<"), {}),
    "half a style sheet": (Source(html="<style>b{"), {}),
    "control characters": (Source(html="<p>\x00\x01\x0b\x7f\ufffe</p>", subject="a\x00b"), {}),
    "dates": (Source(html="{{ x | date: y }}" * 5000), {"x": "1 May 2020", "y": "%c" * 1000}),
    "a date of many digits": (Source(html="{{ x | date: '%Y' }}"), {"x": "9" * 60_000}),
    "a wide number": (Source(html="{{ x | round: 100000000 }}{{ x | times: 1e308 | times: 1e308 }}"), {"x": 1.5}),
}  # fmt: skip

# What tries to reach out of the template.
ESCAPING: dict[str, str] = {
    "a class": "{{ x.__class__ | default: 'no' }}",
    "a class by index": "{{ x['__class__'].__mro__ | default: 'no' }}",
    "globals of a function": "{{ x.upper.__globals__ | default: 'no' }}",
    "a method": "{{ x.upper | default: 'no' }}",
    "the loop's iterator": "{% for i in (1..1) %}{{ forloop.it | default: 'no' }}{% endfor %}",
    "the loop's class": "{% for i in (1..1) %}{{ forloop.__class__ | default: 'no' }}{% endfor %}",
    "the time's class": "{{ now.__class__ | default: 'no' }}",
    "the context": "{{ context | default: 'no' }}{{ self | default: '' }}{{ env | default: '' }}{{ template | default: '' }}",
}
FORBIDDEN: dict[str, str] = {
    "include": "{% include 'x' %}",
    "render": "{% render 'x' %}",
    "a file": "{% include '/etc/passwd' %}",
    "liquid": "{% liquid\n include 'x' %}",
    "extends": "{% extends 'x' %}",
    "an unescaping filter": "{{ x | safe }}",
    "increment": "{% increment a %}",
}
