"""What is asked for in DNS, and how what is found there is judged: by the table, without a look-up."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.records import Answers, ExpectedRecord, Verdict, expected_records, judge, parse_tags

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


FOUND = [
    ("ownership", OWNERSHIP),
    ("ownership", f" {OWNERSHIP} "),
    ("dkim", DKIM),
    ("dkim", f"v=DKIM1;k=rsa;p={KEY};"),
    ("dkim", f" v = DKIM1 ; p = {KEY} ; k = rsa "),
    ("dkim", f"p={KEY}"),  # v= and k= have defaults
    ("dkim", f"v=DKIM1; p={KEY[:100]} {KEY[100:200]}\t{KEY[200:]}"),
    ("dkim", f"v=DKIM1; t=s; s=email; h=sha1:sha256; n=a note; p={KEY}"),
    ("dkim_ed25519", ED25519),
    ("dkim_ed25519", f"k=ed25519;p={ED25519_KEY}"),
    ("return_path", TARGET),
    ("return_path", "Returns.PlugSend.TEST."),
    ("dmarc", "v=DMARC1; p=none;"),
    ("dmarc", "v=DMARC1;p=Reject"),
    ("dmarc", "v = DMARC1 ; p = quarantine ; rua=mailto:d@example.test; pct=50"),
    ("dmarc", "v=DMARC1; adkim=s; p=reject"),
]


@pytest.mark.parametrize(("purpose", "value"), FOUND)
def test_right_record_is_found_however_it_is_spelt(
    records: dict[str, ExpectedRecord], purpose: str, value: str
) -> None:
    assert judge(records[purpose], Answers(values=(value,))) == Verdict("found", (value,))


DIFFERENT = [
    ("ownership", (f'"{OWNERSHIP}"',), "quotation marks"),
    ("ownership", ("plugsend-verification=other",), "token is another one"),
    ("ownership", ("v=spf1 -all",), "another text"),
    ("ownership", (OWNERSHIP.upper(),), "another text"),
    ("dkim", (f'"{DKIM}"',), "quotation marks"),
    ("dkim", (f'"{DKIM[:200]}" "{DKIM[200:]}"',), "quotation marks"),
    ("dkim", (DKIM.replace(";", "\\;"),), "backslashes"),
    ("dkim", (f"v=DKIM1; k=rsa; p={KEY[:230]}",), f"cut off: 230 of its {len(KEY)}"),
    ("dkim", (f"v=DKIM1; k=rsa; p={KEY[:-1]}X",), "another key"),
    ("dkim", ("v=DKIM1; p=",), "revoked"),
    ("dkim_ed25519", (f"v=DKIM1; p={ED25519_KEY}",), "add the tag k=ed25519"),  # it would be RSA
    ("dkim_ed25519", (f"v=DKIM1; k=rsa; p={ED25519_KEY}",), "Ours is k=ed25519"),
    ("dkim_ed25519", (DKIM,), "another key"),
    ("dkim_ed25519", (ED25519[:-1],), "cut off: 43 of its 44 characters are there. Copy"),
    ("dkim_ed25519", (f'"{ED25519}"',), "quotation marks"),
    ("dkim_ed25519", (ED25519.replace(";", "\\;"),), "write v=DKIM1; k=ed25519;"),
    ("dkim", ("v=DKIM1; k=rsa",), "key is missing"),
    ("dkim", (f"k=rsa; v=DKIM1; p={KEY}",), "begin with v=DKIM1"),
    ("dkim", (f"v=dkim1; p={KEY}",), "begin with v=DKIM1"),
    ("dkim", (f"v=DKIM1; k=ed25519; p={KEY}",), "k=ed25519"),
    ("dkim", (f"v=DKIM1; h=sha1; p={KEY}",), "SHA-256"),
    ("dkim", (f"v=DKIM1; s=tlsrpt; p={KEY}",), "e-mail"),
    ("dkim", (f"v=DKIM1; p={KEY}; p={KEY}",), "no DKIM record"),
    ("dkim", (KEY,), "no DKIM record"),
    ("dkim", ("",), "no DKIM record"),
    ("dkim", (DKIM, "v=DKIM1; p=abcd"), "2 TXT records"),
    ("return_path", ("example.net",), "points elsewhere"),
    ("return_path", (f"{TARGET}.example.test",), "with a dot at its end"),
    ("dmarc", ("v=DMARC1; p=none", "v=DMARC1; p=reject"), "2 DMARC records"),
    ("dmarc", ("v=DMARC1",), "policy is missing"),
    ("dmarc", ("v=DMARC1; rua=mailto:x@example.test",), "policy is missing"),
    ("dmarc", ("v=DMARC1; p=strict",), "“strict” is no policy"),
    ("dmarc", ("p=none; v=DMARC1",), "begin with v=DMARC1"),
    ("dmarc", ("v=dmarc1; p=none",), "begin with v=DMARC1"),
    ("dmarc", ("v=DMARC12; p=none",), "begin with v=DMARC1"),
    ("dmarc", ("v=spf1 -all",), "begin with v=DMARC1"),
    ("dmarc", ('"v=DMARC1; p=none"',), "quotation marks"),
    ("dmarc", ("v=DMARC1; none",), "not a list of tags"),
]


@pytest.mark.parametrize(("purpose", "values", "says"), DIFFERENT)
def test_wrong_record_is_different_and_says_why(
    records: dict[str, ExpectedRecord], purpose: str, values: tuple[str, ...], says: str
) -> None:
    verdict = judge(records[purpose], Answers(values=values))
    assert (verdict.status, verdict.found) == ("different", values)
    assert says in verdict.explanation


def test_other_text_records_may_stand_beside_ours(records: dict[str, ExpectedRecord]) -> None:
    assert judge(records["ownership"], Answers(values=("v=spf1 -all", OWNERSHIP))).status == "found"
    assert judge(records["dmarc"], Answers(values=("a note", "v=DMARC1; p=none"))).status == "found"


def test_test_mode_of_dkim_is_found_with_a_warning(records: dict[str, ExpectedRecord]) -> None:
    verdict = judge(records["dkim"], Answers(values=(f"v=DKIM1; t=y:s; p={KEY}",)))
    assert verdict.status == "found"
    assert "t=y" in verdict.explanation


@pytest.mark.parametrize("purpose", ["ownership", "dkim", "return_path", "dmarc", "dkim_ed25519"])
def test_nothing_there_is_missing(records: dict[str, ExpectedRecord], purpose: str) -> None:
    verdict = judge(records[purpose], Answers(doubled_name="x.example.test.example.test"))
    assert (verdict.status, verdict.found) == ("missing", ())
    assert records[purpose].name in verdict.explanation


@pytest.mark.parametrize(
    ("purpose", "value", "label"),
    [
        ("ownership", OWNERSHIP, "_plugsend"),
        ("dkim", DKIM, "ps1._domainkey"),
        ("dkim_ed25519", ED25519, "pse1._domainkey"),
        ("return_path", TARGET, "psrp"),
        ("dmarc", "v=DMARC1; p=none", "_dmarc"),
    ],
)
def test_domain_appended_twice_is_recognised(
    records: dict[str, ExpectedRecord], purpose: str, value: str, label: str
) -> None:
    doubled = f"{label}.example.test.example.test"
    verdict = judge(records[purpose], Answers(doubled_name=doubled, doubled=(value,)))
    assert verdict.status == "missing"
    assert doubled in verdict.explanation
    assert f"Type {label} as the name" in verdict.explanation


def test_wildcard_is_no_sign_of_a_doubled_name(records: dict[str, ExpectedRecord]) -> None:
    verdict = judge(records["ownership"], Answers(doubled_name="x", doubled=("v=spf1 -all",)))
    assert "There is no TXT record" in verdict.explanation


def test_wrong_type_is_recognised(records: dict[str, ExpectedRecord]) -> None:
    text = judge(records["return_path"], Answers(other_type=(TARGET + ".",)))
    assert text.status == "different"
    assert "CNAME is needed" in text.explanation
    assert judge(records["return_path"], Answers(other_type=("a wildcard's text",))).status == "missing"
    alias = judge(records["dkim"], Answers(other_type=("elsewhere.example.net",)))
    assert alias.status == "different"
    assert "Remove the CNAME" in alias.explanation


def test_silent_dns_is_unreachable_not_missing(records: dict[str, ExpectedRecord]) -> None:
    verdict = judge(records["dkim"], Answers(failure="The name servers of example.test did not answer in time."))
    assert verdict.status == "unreachable"
    assert "did not answer in time" in verdict.explanation


# ---- Properties ------------------------------------------------------------------------------------------------------

tag_names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,5}", fullmatch=True)
tag_values = st.text(
    alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=";"), max_size=20
)
spaces = st.text(alphabet=" \t", max_size=3)


@given(st.dictionaries(tag_names, tag_values, min_size=1, max_size=6), spaces, st.booleans())
def test_tags_are_read_whatever_the_white_space(tags: dict[str, str], space: str, ends: bool) -> None:
    text = ";".join(f"{space}{name}{space}={space}{value}{space}" for name, value in tags.items())
    assert parse_tags(text + (f";{space}" if ends else "")) == list(tags.items())


@given(
    st.sampled_from(["ownership", "dkim", "return_path", "dmarc", "dkim_ed25519"]),
    st.lists(st.text(max_size=60), max_size=4),
)
def test_any_answer_gets_a_verdict_and_chance_never_proves(purpose: str, values: list[str]) -> None:
    value = {
        "ownership": OWNERSHIP, "dkim": DKIM, "return_path": TARGET, "dmarc": "v=DMARC1; p=none;", "dkim_ed25519": ED25519,
    }[purpose]  # fmt: skip
    verdict = judge(ExpectedRecord(purpose, "TXT", f"x.{DOMAIN}", value), Answers(values=tuple(values)))
    assert verdict.status in {"missing", "different"}
    assert verdict.explanation
