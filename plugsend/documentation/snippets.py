"""Ready code, one template for each program: the pages of SMTP users and the documentation show the same.

A page of an SMTP user gives a `password`, which stands in the code, so that it can be pasted and run. Without one code takes
the key from the environment, and what is no code has `ps_live_…`.
"""

from __future__ import annotations

from functools import lru_cache

from django.template import Context, Engine

from plugsend.documentation.code import Values

FOLDER = "snippets/code"


@lru_cache(maxsize=1024)
def snippet(name: str, values: Values) -> str:
    """Plain text. `name`: a file of `templates/snippets/code`, without `.txt`. Raises TemplateDoesNotExist."""
    context = {
        "user": values.user,
        "smtp_host": values.host,
        "smtp_port": values.port,
        "web_url": values.url,
        "example_recipient": values.recipient,
        "sandbox": values.sandbox,
    }
    template = Engine.get_default().get_template(f"{FOLDER}/{name}.txt")
    return template.render(Context(context, autoescape=False)).strip("\n")
