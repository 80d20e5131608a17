"""What is asked for in DNS."""

from types import SimpleNamespace

import pytest

from domains.records import ExpectedRecord, expected_records

DOMAIN = "example.test"
TOKEN = "0123456789abcdef"
KEY = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A" + "Q2h1bmtz" * 45
OWNERSHIP = f"plugsend-verification={TOKEN}"
NEXT_KEY, OLD_KEY = KEY[:-8] + "NEXTIDAQ", KEY[:-8] + "GONEIDAQ"
DKIM = f"v=DKIM1; k=rsa; p={KEY}"
ED25519_KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
ED25519 = f"v=DKIM1; k=ed25519; p={ED25519_KEY}"
TARGET = "returns.plugsend.test"


def a_key(selector: str, algorithm: str, state: str, public_key: str) -> SimpleNamespace:
    return SimpleNamespace(selector=selector, algorithm=algorithm, state=state, public_key=public_key)


KEYS = [
    a_key("ps1", "rsa-sha256", "active", KEY),
    a_key("ps2", "rsa-sha256", "waiting", NEXT_KEY),
    a_key("ps0", "rsa-sha256", "retiring", OLD_KEY),
    a_key("pse1", "ed25519-sha256", "waiting", ED25519_KEY),
]


@pytest.fixture
def records(settings: object) -> dict[str, ExpectedRecord]:
    settings.RETURN_PATH_TARGET = TARGET  # type: ignore[attr-defined]
    domain = SimpleNamespace(name=DOMAIN, ownership_token=TOKEN)
    return {record.purpose: record for record in expected_records(domain, KEYS)}  # type: ignore[arg-type]


def test_records_that_are_asked_for(records: dict[str, ExpectedRecord]) -> None:
    asked = [(one.purpose, one.type, one.name, one.value, one.required) for one in records.values()]
    assert asked == [
        ("ownership", "TXT", "_plugsend.example.test", OWNERSHIP, True),
        ("dkim", "TXT", "ps1._domainkey.example.test", DKIM, True),
        ("dkim_next", "TXT", "ps2._domainkey.example.test", f"v=DKIM1; k=rsa; p={NEXT_KEY}", False),
        ("dkim_old", "TXT", "ps0._domainkey.example.test", f"v=DKIM1; k=rsa; p={OLD_KEY}", False),
        ("return_path", "CNAME", "psrp.example.test", TARGET, True),
        ("dmarc", "TXT", "_dmarc.example.test", "v=DMARC1; p=none; rua=mailto:postmaster@example.test", False),
        ("dkim_ed25519", "TXT", "pse1._domainkey.example.test", ED25519, False),
    ]
    assert [one.dkim_key for one in records.values() if one.dkim_key] == KEYS
