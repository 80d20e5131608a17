"""Loaded by schemathesis (tests/test_api_contract.py): of what it invents, some is made fit for the demo's organization.

Otherwise hardly any request would come past the check of its sender.
"""

from typing import Any

import schemathesis

FIT = {
    "from": "Ada <ada@demo.test>",
    "to": ["bob@example.test"],
    "cc": [],
    "bcc": [],
    "reply_to": "ada@demo.test",
    "headers": {},
}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    for one in body if isinstance(body, list) else [body]:
        if isinstance(one, dict) and len(str(one)) % 3:  # two in three, the same ones in each run
            one.update({name: value for name, value in FIT.items() if name in one})
    return body
