"""How what DNS holds is judged: by the table, without a look-up."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domains.diagnosis.dkim_record import parse_tags
from domains.diagnosis.judge import KEPT_CHARACTERS, KEPT_EXPLANATION, KEPT_VALUES, Verdict, judge, judge_zone
from domains.diagnosis.table import Diagnosis
from domains.dns.evidence import Elsewhere, Failure, Heard, NameServer, RecordEvidence, ZoneEvidence
from domains.records import ExpectedRecord, expected_records

DOMAIN = "mail.example.com"
TOKEN, THEIR_TOKEN = "0123456789abcdef", "fedcba9876543210"
KEY = (
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvDq3b0pZ+oq8sQm4nK1hWZr5yFJcT7uXeLg2VtB9aRkM6dPwNi0CfHxYjUsGzEl3QbIo/8pAO"
    "t5mKc1vJr7eWyTnFhSgXdZq2Lu9PaMiBkV4sR0xC+6jNwYfHbD3oGzQ8lEtKpU1mIrAc5yJnXvS7hTgWdLq9Zu2PeMaBiVkR4s0Cx6+NjfwHYDb3GozlQ8"
    "EKtpUI1mrA5cJynvXS7TghWLdqZ9u2ePMaiBVkRs40xC6N+jfwYHbDo3GzQl8EtKUp1mIrcA5JynXvS7hWgTLdq9uZ2PeaMiBkVRs4x0C6+NjwfIDAQAB"
)[:392]
NEXT_KEY, OLD_KEY = KEY[:-60] + KEY[-60:-8][::-1] + "NEXTIDAQ", KEY[:-60] + KEY[-60:-8][::-1] + "GONEIDAQ"
OWNERSHIP = f"plugsend-verification={TOKEN}"
DKIM = f"v=DKIM1; k=rsa; p={KEY}"
ED25519_KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
ED25519 = f"v=DKIM1; k=ed25519; p={ED25519_KEY}"
TARGET = "returns.plugsend.test"
DMARC = "v=DMARC1; p=none;"
VALUES = {"ownership": OWNERSHIP, "dkim": DKIM, "return_path": TARGET, "dmarc": DMARC, "dkim_ed25519": ED25519}

SERVERS = ("ns1.dns.example", "ns2.dns.example")
RESOLVERS = ("192.0.2.1", "192.0.2.2")
ZONE = ZoneEvidence("example.com", tuple(NameServer(name, ("192.0.2.53",)) for name in SERVERS))
CLOUDFLARE = ZoneEvidence("example.com", (NameServer("ada.ns.cloudflare.com"), NameServer("bob.ns.cloudflare.com")))


def a_key(selector: str, algorithm: str, state: str, public_key: str) -> SimpleNamespace:
    return SimpleNamespace(selector=selector, algorithm=algorithm, state=state, public_key=public_key)


@pytest.fixture
def records(settings: Any) -> dict[str, ExpectedRecord]:
    settings.RETURN_PATH_TARGET = TARGET
    domain = SimpleNamespace(name=DOMAIN, ownership_token=TOKEN)
    keys = [
        a_key("ps1", "rsa-sha256", "active", KEY),
        a_key("ps2", "rsa-sha256", "waiting", NEXT_KEY),
        a_key("pse1", "ed25519-sha256", "waiting", ED25519_KEY),
    ]
    return {record.purpose: record for record in expected_records(domain, keys)}  # type: ignore[arg-type]


def heard(*values: str, **more: Any) -> RecordEvidence:
    """The same from all name servers, and from all resolvers."""
    return RecordEvidence(
        authority=tuple(Heard(name, values, **more) for name in SERVERS),
        resolvers=tuple(Heard(name, values, **more) for name in RESOLVERS),
    )


def nothing(**beside: Any) -> RecordEvidence:
    return RecordEvidence(authority=tuple(Heard(name, exists=False, ttl_s=300) for name in SERVERS), **beside)


def told(verdict: Verdict) -> tuple[str, str]:
    return verdict.status, verdict.diagnosis


# ---- Values ----------------------------------------------------------------------------------------------------------

RIGHT = [
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


@pytest.mark.parametrize(("purpose", "value"), RIGHT)
def test_right_record_is_found_however_it_is_spelt(
    records: dict[str, ExpectedRecord], purpose: str, value: str
) -> None:
    assert judge(records[purpose], heard(value), ZONE) == Verdict("found", (value,))


WRONG = [
    ("ownership", (f'"{OWNERSHIP}"',), "quotes_in_value", "quotation marks"),
    ("ownership", (f"“{OWNERSHIP}”",), "quotes_in_value", "quotation marks"),
    ("ownership", ("plugsend-verification= " + TOKEN,), "spaces_in_value", "(a space)"),
    ("ownership", (OWNERSHIP[:30] + "\u200b" + OWNERSHIP[30:],), "spaces_in_value", "(U+200B)"),
    ("ownership", (OWNERSHIP[:30] + "\r\n" + OWNERSHIP[30:],), "spaces_in_value", "(a line break)"),
    ("ownership", (OWNERSHIP.replace("-", "\\-"),), "backslashes_in_value", "backslashes"),
    ("ownership", (OWNERSHIP.upper(),), "letters_changed", "Capital letters"),
    ("ownership", (f"_plugsend TXT {OWNERSHIP}",), "extra_text", "(“_plugsend TXT”)"),
    ("ownership", ("plugsend-verification=other",), "wrong_token", "token is another one"),
    ("ownership", (f"plugsend-verification={THEIR_TOKEN}",), "wrong_token", "of another account"),
    ("ownership", (OWNERSHIP[:-3],), "wrong_token", "cut off after 35 of 38"),
    ("ownership", ("v=spf1 -all",), "other_text", "the other may stay"),
    ("dkim", (f'"{DKIM}"',), "quotes_in_value", "quotation marks"),
    ("dkim", (f'"{DKIM[:200]}" "{DKIM[200:]}"',), "quotes_in_value", "quotation marks"),
    ("dkim", (f'{DKIM[:200]}" "{DKIM[200:]}',), "quotes_in_value", "quotation marks"),
    ("dkim", (f"v=DKIM1; p={KEY[:99]}\u00a0{KEY[99:]}",), "spaces_in_value", "(U+00A0)"),
    ("dkim", (DKIM.replace(";", "\\;"),), "backslashes_in_value", "backslashes"),
    ("dkim", (DKIM.lower(),), "letters_changed", "Capital letters"),
    ("dkim", (f"v=DKIM1; k=rsa; p={KEY.swapcase()}",), "key_differs", "another key"),
    ("dkim", (DKIM.lower().replace("dkim1", "DKIM1"),), "letters_changed", "Capital letters"),
    ("dkim", (f"ps1._domainkey.{DOMAIN}. IN TXT {DKIM}",), "extra_text", "ps1._domainkey"),
    ("dkim", (f"{DKIM}==",), "extra_text", "2 more characters"),
    ("dkim", (f"v=DKIM1; k=rsa; p={KEY[:230]}",), "key_cut_off", f"230 of its {len(KEY)} characters"),
    ("dkim", (DKIM[:255],), "key_part_lost", "Only the first string of the record arrived"),
    ("dkim", (DKIM[255:],), "key_part_lost", "The beginning of the value is lost"),
    ("dkim", (f"v=DKIM1; k=rsa; p={KEY[100:]}",), "key_part_lost", "The beginning of the key is lost"),
    (
        "dkim",
        (f"v=DKIM1; k=rsa; p={KEY[:150]}{KEY[220:]}",),
        "key_part_lost",
        "A part in the middle of the key is lost",
    ),
    ("dkim", (DKIM.replace("+", " "),), "key_part_lost", "plus signs"),
    ("dkim", (DKIM[:255], DKIM[255:]), "several_records", "split into 2 records"),
    ("dkim", (DKIM[255:], DKIM[:255]), "several_records", "split into 2 records"),
    ("dkim", (DKIM, "v=DKIM1; p=abcd"), "several_records", "one of which is right"),
    ("dkim", ("v=DKIM1; p=efgh", "v=DKIM1; p=abcd"), "several_records", "Keep one"),
    ("dkim", (f"v=DKIM1; k=rsa; p={NEXT_KEY}",), "key_of_other_selector", "your key of ps2"),
    ("dkim", (f"v=DKIM1; k=rsa; p={KEY[:-1]}X",), "key_differs", "another key"),
    ("dkim", (f"v=DKIM1; k=rsa; p={KEY[:40]}{KEY[40:200][::-1]}",), "key_differs", "shorter than ours"),
    ("dkim", ("v=DKIM1; p=",), "key_revoked", "revoked"),
    ("dkim_ed25519", (f"v=DKIM1; p={ED25519_KEY}",), "key_restricted", "add the tag k=ed25519"),  # it would be RSA
    ("dkim_ed25519", (f"v=DKIM1; k=rsa; p={ED25519_KEY}",), "key_restricted", "Ours is k=ed25519"),
    ("dkim_ed25519", (DKIM,), "key_of_other_selector", "your key of ps1"),
    ("dkim_ed25519", (ED25519[:-1],), "key_cut_off", "43 of its 44 characters are there. Copy the whole"),
    ("dkim_ed25519", (f'"{ED25519}"',), "quotes_in_value", "quotation marks"),
    ("dkim_ed25519", (ED25519.replace(";", "\\;"),), "backslashes_in_value", "backslashes"),
    ("dkim", ("v=DKIM1; k=rsa",), "not_dkim", "key is missing"),
    ("dkim", (f"k=rsa; v=DKIM1; p={KEY}",), "not_dkim", "begin with v=DKIM1"),
    ("dkim", (f"v=dkim1; p={KEY}",), "letters_changed", "Capital letters"),
    ("dkim", (f"v=DKIM2; p={KEY}",), "not_dkim", "begin with v=DKIM1"),
    ("dkim", (f"v=DKIM1; p={KEY}; p={KEY}",), "not_dkim", "not a DKIM record"),
    ("dkim", (KEY,), "not_dkim", "what belongs before it"),
    ("dkim", ("",), "not_dkim", "not a DKIM record"),
    ("dkim", (f"v=DKIM1; k=ed25519; p={KEY}",), "key_restricted", "k=ed25519"),
    ("dkim", (f"v=DKIM1; h=sha1; p={KEY}",), "key_restricted", "SHA-256"),
    ("dkim", (f"v=DKIM1; s=tlsrpt; p={KEY}",), "key_restricted", "e-mail"),
    ("return_path", ("example.net",), "other_target", "points to example.net"),
    ("return_path", (f"{TARGET}.example.com",), "domain_appended_to_target", f"with a dot at its end: {TARGET}."),
    ("return_path", (TARGET, "example.net"), "several_records", "only one may be"),
    ("return_path", (f'\\"{TARGET}\\"',), "quotes_in_value", "quotation marks"),
    ("return_path", (f"\\032{TARGET}",), "spaces_in_value", "(a space)"),
    ("dmarc", ("v=DMARC1; p=none", "v=DMARC1; p=reject"), "several_records", "2 DMARC records"),
    ("dmarc", ("v=DMARC1",), "policy_invalid", "policy is missing"),
    ("dmarc", ("v=DMARC1; rua=mailto:x@example.test",), "policy_invalid", "policy is missing"),
    ("dmarc", ("v=DMARC1; p=strict",), "policy_invalid", "“strict” is no policy"),
    ("dmarc", ("v=DMARC1; none",), "policy_invalid", "not a list of tags"),
    ("dmarc", ("p=none; v=DMARC1",), "not_dmarc", "begin with v=DMARC1"),
    ("dmarc", ("v=dmarc1; p=none",), "letters_changed", "Capital letters"),
    ("dmarc", ("v=DMARC12; p=none",), "not_dmarc", "begin with v=DMARC1"),
    ("dmarc", ("v=spf1 -all",), "not_dmarc", "begin with v=DMARC1"),
    ("dmarc", ("v=DMARC1\\; p=none",), "backslashes_in_value", "backslashes"),
    ("dmarc", ('"v=DMARC1; p=none"',), "quotes_in_value", "quotation marks"),
]


@pytest.mark.parametrize(("purpose", "values", "diagnosis", "says"), WRONG)
def test_wrong_record_is_different_and_says_why(
    records: dict[str, ExpectedRecord], purpose: str, values: tuple[str, ...], diagnosis: str, says: str
) -> None:
    siblings = [record for record in records.values() if record.purpose != purpose]
    verdict = judge(records[purpose], heard(*values), ZONE, siblings=siblings)
    assert (*told(verdict), verdict.found) == ("different", diagnosis, values)
    assert says in verdict.explanation


def test_other_text_records_may_stand_beside_ours(records: dict[str, ExpectedRecord]) -> None:
    assert judge(records["ownership"], heard("v=spf1 -all", OWNERSHIP), ZONE).status == "found"
    assert judge(records["dmarc"], heard("a note", "v=DMARC1; p=none"), ZONE).status == "found"


def test_test_mode_of_dkim_is_found_with_a_remark(records: dict[str, ExpectedRecord]) -> None:
    verdict = judge(records["dkim"], heard(f"v=DKIM1; t=y:s; p={KEY}"), ZONE)
    assert told(verdict) == ("found", "test_mode")
    assert "t=y" in verdict.explanation


def test_form_that_wants_quoted_strings_is_named_where_a_key_was_cut(records: dict[str, ExpectedRecord]) -> None:
    route53 = ZoneEvidence("example.com", (NameServer("ns-1.awsdns-01.org"),))
    cut = heard(DKIM[:255])
    assert "at Amazon Route 53, as several quoted strings" in judge(records["dkim"], cut, route53).explanation
    assert "If the form takes no more than 255" in judge(records["dkim"], cut, ZONE).explanation


# ---- Not there -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", VALUES)
def test_nothing_there_is_missing_and_says_what_to_type(records: dict[str, ExpectedRecord], purpose: str) -> None:
    record = records[purpose]
    beside = {"doubled": Elsewhere(f"{record.name}.example.com", ()), "bare": Elsewhere("x.example.com", ())}
    verdict = judge(record, nothing(**beside), CLOUDFLARE)
    assert (*told(verdict), verdict.found) == ("missing", "missing", ())
    assert f"no {record.type} record at {record.name} yet" in verdict.explanation
    label = record.name.removesuffix(".example.com")
    assert f"Add it at Cloudflare: type {record.type}, name “{label}”, and the value shown." in verdict.explanation


LABELS = [
    ("ownership", "_plugsend.mail", "plugsend.mail"),
    ("dkim", "ps1._domainkey.mail", "ps1.domainkey.mail"),
    ("dkim_ed25519", "pse1._domainkey.mail", "pse1.domainkey.mail"),
    ("dmarc", "_dmarc.mail", "dmarc.mail"),
    ("return_path", "psrp.mail", "psrp.mail"),
]


@pytest.mark.parametrize(("purpose", "label", "_bare"), LABELS)
@pytest.mark.parametrize("appended", ["example.com", "mail.example.com"])
def test_domain_appended_twice_is_recognised(
    records: dict[str, ExpectedRecord], purpose: str, label: str, _bare: str, appended: str
) -> None:
    doubled = f"{records[purpose].name}.{appended}"
    verdict = judge(records[purpose], nothing(doubled=Elsewhere(doubled, (VALUES[purpose],))), CLOUDFLARE)
    assert told(verdict) == ("missing", "doubled_name")
    typed = label if appended == "example.com" else label.removesuffix(".mail")
    assert f"The record is at {doubled}: Cloudflare adds" in verdict.explanation
    assert f"Type {typed} as the name there." in verdict.explanation


@pytest.mark.parametrize(("purpose", "label", "bare"), LABELS[:4])
def test_refused_underscore_is_recognised(
    records: dict[str, ExpectedRecord], purpose: str, label: str, bare: str
) -> None:
    verdict = judge(records[purpose], nothing(bare=Elsewhere(f"{bare}.example.com", (VALUES[purpose],))), ZONE)
    assert told(verdict) == ("missing", "underscore_refused")
    assert f"at {bare}.example.com, without the underscore. Type “{label}”" in verdict.explanation


@pytest.mark.parametrize(("purpose", "label", "_bare"), LABELS[:4])
def test_record_at_the_domain_itself_is_recognised(
    records: dict[str, ExpectedRecord], purpose: str, label: str, _bare: str
) -> None:
    verdict = judge(records[purpose], nothing(at_apex=("v=spf1 -all", VALUES[purpose])), ZONE)
    assert told(verdict) == ("missing", "at_apex")
    assert f"at {DOMAIN} itself" in verdict.explanation
    assert f"Type “{label}”" in verdict.explanation


def test_spoilt_record_at_a_wrong_name_is_recognised_and_other_text_is_not(records: dict[str, ExpectedRecord]) -> None:
    name = f"{records['dkim'].name}.example.com"
    spoilt = judge(records["dkim"], nothing(doubled=Elsewhere(name, (DKIM[:255],))), ZONE)
    assert spoilt.diagnosis == "doubled_name"
    other = judge(records["dkim"], nothing(doubled=Elsewhere(name, ("v=DKIM1; p=abcd",)), at_apex=("v=spf1",)), ZONE)
    assert other.diagnosis == "missing"


def test_wrong_type_is_recognised(records: dict[str, ExpectedRecord]) -> None:
    text = judge(records["return_path"], nothing(wrong_type=(TARGET + ".",)), ZONE)
    assert told(text) == ("different", "txt_in_place_of_cname")
    assert "a CNAME is needed" in text.explanation
    assert judge(records["return_path"], nothing(wrong_type=("another text",)), ZONE).diagnosis == "missing"
    alias = judge(records["dkim"], nothing(wrong_type=("elsewhere.example.net",)), ZONE)
    assert told(alias) == ("different", "cname_in_place_of_txt")
    assert "is a CNAME to elsewhere.example.net" in alias.explanation


def test_proxy_is_recognised_in_the_hosts_own_words(records: dict[str, ExpectedRecord]) -> None:
    evidence = nothing(addresses=("104.16.0.1", "2606:4700::1"))
    at_cloudflare = judge(records["return_path"], evidence, CLOUDFLARE)
    assert (*told(at_cloudflare), at_cloudflare.found) == ("different", "proxied", evidence.addresses)
    assert "orange cloud" in at_cloudflare.explanation
    elsewhere = judge(records["return_path"], evidence, ZONE)
    assert "104.16.0.1" in elsewhere.explanation
    assert "orange" not in elsewhere.explanation


@pytest.mark.parametrize(
    ("purpose", "evidence", "found"),
    [
        ("ownership", replace(heard("v=spf1 -all"), is_wildcard=True), ("v=spf1 -all",)),
        ("dkim", replace(heard("v=spf1 -all"), is_wildcard=True), ("v=spf1 -all",)),
        ("return_path", replace(heard("www.example.com"), is_wildcard=True), ("www.example.com",)),
        ("return_path", replace(nothing(addresses=("192.0.2.80",)), is_wildcard=True), ("192.0.2.80",)),
        ("dkim", replace(nothing(wrong_type=("www.example.com",)), is_wildcard=True), ("www.example.com",)),
    ],
)
def test_wildcard_that_is_not_ours_is_recognised(
    records: dict[str, ExpectedRecord], purpose: str, evidence: RecordEvidence, found: tuple[str, ...]
) -> None:
    verdict = judge(records[purpose], evidence, ZONE)
    assert (*told(verdict), verdict.found) == ("missing", "wildcard_answers", found)
    assert "the wildcard may stay" in verdict.explanation


def test_right_value_through_a_wildcard_is_fine(records: dict[str, ExpectedRecord]) -> None:
    assert told(judge(records["return_path"], replace(heard(TARGET), is_wildcard=True), ZONE)) == ("found", "")


def test_record_at_a_wrong_name_is_seen_behind_a_wildcard(records: dict[str, ExpectedRecord]) -> None:
    doubled = Elsewhere(f"{records['ownership'].name}.example.com", (OWNERSHIP,))
    evidence = replace(heard("v=spf1 -all"), is_wildcard=True, doubled=doubled)
    assert judge(records["ownership"], evidence, ZONE).diagnosis == "doubled_name"


# ---- DMARC of the domain above ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("above", "policy"),
    [
        ("v=DMARC1; p=reject", "p=reject"),
        ("v=DMARC1; p=reject; sp=None", "sp=none"),
        ("v=DMARC1; p=reject; sp=x", ""),
        ("v=DMARC1; p=x", ""),
    ],
)
@pytest.mark.parametrize("own", [(), ("a note",)])
def test_policy_of_the_domain_above_covers_a_subdomain(
    records: dict[str, ExpectedRecord], own: tuple[str, ...], above: str, policy: str
) -> None:
    evidence = replace(heard(*own) if own else nothing(), inherited=Elsewhere("_dmarc.example.com", (above,)))
    verdict = judge(records["dmarc"], evidence, ZONE)
    if policy:
        assert (*told(verdict), verdict.found) == ("found", "policy_inherited", (above,))
        assert f"at _dmarc.example.com, covers this subdomain with {policy}." in verdict.explanation
    else:
        assert told(verdict) == (("different", "not_dmarc") if own else ("missing", "missing"))


def test_two_policies_above_cover_nothing(records: dict[str, ExpectedRecord]) -> None:
    both = Elsewhere("_dmarc.example.com", ("v=DMARC1; p=reject", "v=DMARC1; p=none"))
    assert judge(records["dmarc"], nothing(inherited=both), ZONE).diagnosis == "missing"


def test_own_faulty_policy_is_not_covered_by_that_above(records: dict[str, ExpectedRecord]) -> None:
    evidence = replace(heard("v=DMARC1; p=x"), inherited=Elsewhere("_dmarc.example.com", ("v=DMARC1; p=reject",)))
    assert told(judge(records["dmarc"], evidence, ZONE)) == ("different", "policy_invalid")


# ---- All sides -------------------------------------------------------------------------------------------------------

HAS, LACKS = (OWNERSHIP,), ()


def sides(authority: list[Any], resolvers: list[Any], ttl_s: int = 600) -> RecordEvidence:
    """Each an answer's values, or how it failed."""

    def one(server: str, said: Any) -> Heard:
        return Heard(server, failure=said) if isinstance(said, Failure) else Heard(server, said, ttl_s=ttl_s)

    return RecordEvidence(
        authority=tuple(one(f"ns{at}.dns.example", said) for at, said in enumerate(authority, 1)),
        resolvers=tuple(one(f"192.0.2.{at}", said) for at, said in enumerate(resolvers, 1)),
    )


SIDES = [
    ([HAS, HAS], [HAS, HAS], "found", ""),
    ([HAS], [], "found", ""),
    ([], [HAS], "found", ""),
    ([HAS, Failure.TIMEOUT], [HAS], "found", ""),
    ([HAS], [HAS, Failure.TIMEOUT], "found", ""),
    ([HAS], [Failure.TIMEOUT], "found", ""),
    ([Failure.TIMEOUT], [HAS], "found", ""),
    ([HAS], [HAS, LACKS], "propagating", "propagating"),
    ([HAS], [LACKS], "propagating", "propagating"),
    ([HAS], [("plugsend-verification=old",)], "propagating", "propagating"),
    ([Failure.TIMEOUT], [HAS, LACKS], "propagating", "propagating"),
    ([HAS, LACKS], [], "propagating", "servers_disagree"),
    ([HAS, ("plugsend-verification=old",)], [HAS], "propagating", "servers_disagree"),
    ([LACKS, LACKS], [], "missing", "missing"),
    ([LACKS], [HAS], "missing", "missing"),
    ([LACKS, Failure.TIMEOUT], [], "missing", "missing"),
    ([Failure.TIMEOUT], [LACKS], "missing", "missing"),
    ([], [LACKS, Failure.SERVFAIL], "missing", "missing"),
    ([("plugsend-verification=old",)], [HAS], "different", "wrong_token"),
    ([("plugsend-verification=old",), LACKS], [], "different", "wrong_token"),
    ([HAS], [Failure.BOGUS], "unreachable", "dnssec_failure"),
    ([HAS], [Failure.SERVFAIL, Failure.SERVFAIL], "unreachable", "nameservers_servfail"),
    ([Failure.TIMEOUT], [Failure.BOGUS], "unreachable", "dnssec_failure"),
    ([Failure.TIMEOUT, Failure.TIMEOUT, Failure.LAME], [Failure.SERVFAIL], "unreachable", "nameservers_timeout"),
    ([Failure.LAME], [Failure.SERVFAIL], "unreachable", "nameservers_lame"),
    ([Failure.REFUSED], [Failure.SERVFAIL], "unreachable", "nameservers_refused"),
    ([Failure.SERVFAIL], [], "unreachable", "nameservers_servfail"),
    ([Failure.MALFORMED], [], "unreachable", "nameservers_malformed"),
    ([], [Failure.TIMEOUT], "unreachable", "nameservers_timeout"),
    ([], [], "unreachable", "no_answer"),
]


@pytest.mark.parametrize(("authority", "resolvers", "status", "diagnosis"), SIDES)
def test_sides_are_weighed(
    records: dict[str, ExpectedRecord], authority: list[Any], resolvers: list[Any], status: str, diagnosis: str
) -> None:
    verdict = judge(records["ownership"], sides(authority, resolvers), ZONE)
    assert told(verdict) == (status, diagnosis)
    assert bool(verdict.explanation) == (status != "found")
    assert (OWNERSHIP in verdict.found) == (status in {"found", "propagating"})
    assert (verdict.visible_in_s == 600) == (diagnosis == "propagating")


def test_waiting_is_told_by_the_longest_memory(records: dict[str, ExpectedRecord]) -> None:
    evidence = RecordEvidence(
        authority=(Heard("ns1.dns.example", HAS, ttl_s=9999),),
        resolvers=(
            Heard("192.0.2.1", LACKS, ttl_s=61), Heard("192.0.2.2", LACKS, ttl_s=841), Heard("192.0.2.3", HAS, ttl_s=5000),
        ),
    )  # fmt: skip
    verdict = judge(records["ownership"], evidence, ZONE)
    assert verdict.visible_in_s == 841
    assert "visible to all in about 15 minutes: 192.0.2.1 and 192.0.2.2 still remember" in verdict.explanation


@pytest.mark.parametrize(
    ("ttl_s", "words"),
    [
        (0, "visible to all any moment"), (1, "in about a minute"), (3600, "in about 60 minutes"),
        (7200, "in about 2 hours"), (172_800, "in about 2 days"), (2**31 - 1, "in about 7 days"),
    ],
)  # fmt: skip
def test_waiting_is_told_in_round_numbers(records: dict[str, ExpectedRecord], ttl_s: int, words: str) -> None:
    verdict = judge(records["ownership"], sides([HAS], [LACKS], ttl_s), ZONE)
    assert words in verdict.explanation
    assert verdict.visible_in_s == min(ttl_s, 604_800)


def test_name_servers_that_disagree_are_named(records: dict[str, ExpectedRecord]) -> None:
    verdict = judge(records["ownership"], sides([HAS, LACKS, HAS], []), ZONE)
    assert "ns1.dns.example and ns3.dns.example have the record, ns2.dns.example does not" in verdict.explanation


def test_lost_record_that_caches_remember_is_missing_and_says_so(records: dict[str, ExpectedRecord]) -> None:
    assert "forgotten it in about 10 minutes" in judge(records["ownership"], sides([LACKS], [HAS]), ZONE).explanation


def test_key_behind_an_alias_to_another_zone_is_seen_by_resolvers(records: dict[str, ExpectedRecord]) -> None:
    away = (Heard("ns1.dns.example", alias="key.example.net"),)

    def verdict(*resolvers: Heard) -> Verdict:
        return judge(records["dkim"], RecordEvidence(authority=away, resolvers=resolvers), ZONE)

    alias = "key.example.net"
    assert told(verdict(Heard("192.0.2.1", (DKIM,), alias=alias))) == ("found", "")
    assert told(verdict(Heard("192.0.2.1", alias=alias, exists=False))) == ("different", "cname_in_place_of_txt")
    assert told(verdict()) == ("different", "cname_in_place_of_txt")
    assert told(verdict(Heard("192.0.2.1", failure=Failure.TIMEOUT))) == ("unreachable", "nameservers_timeout")
    other = verdict(Heard("192.0.2.1", ("v=DKIM1; p=",), alias=alias))
    assert told(other) == ("different", "key_revoked")
    assert "came through a CNAME" in other.explanation


# ---- The zone --------------------------------------------------------------------------------------------------------


def servers(*failures: Failure | None, **more: Any) -> ZoneEvidence:
    named = tuple(NameServer(f"ns{at}.dns.example", ("192.0.2.53",), one) for at, one in enumerate(failures, 1))
    return ZoneEvidence("example.com", named, **more)


ZONES = [
    (ZONE, "", ""),
    (ZoneEvidence(), "", ""),
    (ZoneEvidence("example.com", exists=False), "domain_does_not_exist", "example.com does not exist"),
    (ZoneEvidence("example.com"), "no_nameservers", "example.com has no name servers"),
    (ZoneEvidence("example.com", failure=Failure.TIMEOUT), "nameservers_timeout", "did not answer in time"),
    (ZoneEvidence(exists=False), "domain_does_not_exist", "DNS says that the domain does not exist"),
    (ZoneEvidence(failure=Failure.BOGUS), "dnssec_failure", "The domain is signed"),
    (ZoneEvidence("example.com", failure=Failure.BOGUS), "dnssec_failure", "signatures do not fit"),
    (servers(None, Failure.LAME, Failure.LAME), "nameservers_lame", "ns2.dns.example and ns3.dns.example do not know"),
    (servers(None, dnssec="DNSKEY Missing (EDE 9)"), "dnssec_failure", "says: “DNSKEY Missing (EDE 9)”"),
    (servers(Failure.TIMEOUT, Failure.TIMEOUT), "nameservers_timeout", "(ns1.dns.example and ns2.dns.example)"),
    (servers(Failure.LAME, Failure.LAME), "nameservers_lame", "do not know the domain"),
    (servers(Failure.REFUSED), "nameservers_refused", "refuse to answer"),
    (servers(Failure.SERVFAIL), "nameservers_servfail", "SERVFAIL"),
    (servers(Failure.MALFORMED), "nameservers_malformed", "not DNS"),
    (servers(None, Failure.LAME), "nameservers_lame", "ns2.dns.example does not know the domain. The others answer"),
    (
        ZoneEvidence("example.com", (ZONE.name_servers[0], NameServer("ns9.dns.example", (), Failure.TIMEOUT))),
        "nameservers_timeout",
        "ns9.dns.example has no address",
    ),
]


@pytest.mark.parametrize(("zone", "diagnosis", "says"), ZONES)
def test_zone_is_judged(zone: ZoneEvidence, diagnosis: str, says: str) -> None:
    verdict = judge_zone(zone)
    assert verdict.diagnosis == diagnosis
    assert says in verdict.explanation
    assert bool(verdict.explanation) == bool(diagnosis)


@pytest.mark.parametrize(("zone", "diagnosis", "_says"), [row for row in ZONES if row[1] and not row[0].name_servers])
def test_records_of_a_broken_zone_have_its_diagnosis(
    records: dict[str, ExpectedRecord], zone: ZoneEvidence, diagnosis: str, _says: str
) -> None:
    assert judge(records["dkim"], RecordEvidence(), zone).diagnosis == diagnosis


def test_what_the_whole_zone_suffers_from_is_told_at_length_once(records: dict[str, ExpectedRecord]) -> None:
    failing, broken = servers(Failure.SERVFAIL, Failure.SERVFAIL), sides([Failure.SERVFAIL, Failure.SERVFAIL], [])
    assert "look for errors" in judge_zone(failing).explanation
    assert "look for errors" not in judge(records["dkim"], broken, failing).explanation
    assert "look for errors" in judge(records["dkim"], broken, ZONE).explanation  # the others are well
    partly = judge(records["dkim"], broken, servers(Failure.SERVFAIL, None)).explanation
    assert "look for errors" in partly
    assert "The others answer" not in partly


def test_failed_validation_outweighs_silent_resolvers(records: dict[str, ExpectedRecord]) -> None:
    verdict = judge(records["ownership"], sides([HAS], [Failure.TIMEOUT]), replace(ZONE, dnssec="DNSSEC Bogus"))
    assert told(verdict) == ("unreachable", "dnssec_failure")


def test_domain_that_does_not_exist_lacks_its_records(records: dict[str, ExpectedRecord]) -> None:
    zone = ZoneEvidence("example.com", exists=False)
    for evidence in (RecordEvidence(), nothing(), RecordEvidence(resolvers=(Heard("192.0.2.1", exists=False),))):
        assert told(judge(records["dkim"], evidence, zone)) == ("missing", "domain_does_not_exist")


# ---- Hostile zones ---------------------------------------------------------------------------------------------------


def test_what_is_kept_of_a_hostile_zone_is_bounded(records: dict[str, ExpectedRecord]) -> None:
    flood = tuple(f"{number:03d}" + "\0x" * 600 for number in range(100))
    verdict = judge(records["ownership"], heard(*flood), ZONE)
    assert len(verdict.found) == KEPT_VALUES + 1
    assert verdict.found[-1] == "… and 92 more"
    assert all(len(value) < KEPT_CHARACTERS + 40 for value in verdict.found)
    assert verdict.found[0].endswith(f"… ({1203 - KEPT_CHARACTERS} more characters)")
    assert "\0" not in "".join(verdict.found)


def test_ours_is_kept_among_a_flood(records: dict[str, ExpectedRecord]) -> None:
    flood = tuple(f"{number:03d}" for number in range(100))
    verdict = judge(records["ownership"], heard(*flood, OWNERSHIP), ZONE)
    assert (verdict.status, verdict.found[0]) == ("found", OWNERSHIP)


def test_name_servers_that_answered_are_there_though_the_zone_names_none(records: dict[str, ExpectedRecord]) -> None:
    assert judge(records["dkim"], nothing(), ZoneEvidence("example.com")).diagnosis == "missing"
    heard_of = RecordEvidence(resolvers=(Heard("192.0.2.1"),))
    assert judge(records["dkim"], heard_of, ZoneEvidence("example.com")).diagnosis == "no_nameservers"


@pytest.mark.parametrize("filling", [" ", '" ', "=", ";", "a=", "\\", "\u200b", "p=A;"])
@pytest.mark.parametrize("purpose", VALUES)
def test_longest_values_are_read_in_their_length(
    records: dict[str, ExpectedRecord], purpose: str, filling: str
) -> None:
    # 64 KiB are all that a DNS answer holds. What takes the square of it would hang here for minutes.
    verdict = judge(records[purpose], heard("v=DKIM1; p=" + filling * (60_000 // len(filling)) + "x"), ZONE)
    assert verdict.status == "different"


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


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A value of ours with something done to it, or anything at all."""
    if draw(st.booleans()):
        return draw(st.text(max_size=60))
    value = draw(st.sampled_from(sorted(VALUES.values())))
    at, length = draw(st.integers(0, len(value))), draw(st.integers(0, 40))
    return value[:at] + draw(st.text(alphabet=' "\\;=+pv\0x\u200b', max_size=4)) + value[at + length :]


values_of_any_kind = st.lists(mangled(), max_size=4).map(tuple)
names_of_any_kind = st.sampled_from([DOMAIN, "example.com", f"_dmarc.{DOMAIN}.example.com", "ps1.domainkey", ""])
servers_of_any_kind = st.sampled_from([*SERVERS, "ada.ns.cloudflare.com", "", "ns-1.awsdns-01.org"])
failures = st.one_of(st.none(), st.sampled_from(Failure))
answers = st.lists(
    st.builds(
        Heard, servers_of_any_kind, values_of_any_kind, failures, st.booleans(), names_of_any_kind,
        st.integers(-5, 2**31),
    ),
    max_size=4,
).map(tuple)  # fmt: skip
places = st.one_of(st.none(), st.builds(Elsewhere, names_of_any_kind, values_of_any_kind))
evidence_of_any_kind = st.builds(
    RecordEvidence, answers, answers, values_of_any_kind, values_of_any_kind, places, places, values_of_any_kind,
    st.booleans(), places,
)  # fmt: skip
zones_of_any_kind = st.builds(
    ZoneEvidence,
    names_of_any_kind,
    st.lists(st.builds(NameServer, servers_of_any_kind, values_of_any_kind, failures), max_size=4).map(tuple),
    st.booleans(),
    failures,
    st.text(max_size=20),
)
LABEL_OF = {
    "ownership": "_plugsend", "dkim": "ps1._domainkey", "return_path": "psrp", "dmarc": "_dmarc",
    "dkim_ed25519": "pse1._domainkey",
}  # fmt: skip


def holds(purpose: str, values: tuple[str, ...]) -> bool:
    """Told independently: whether the expected is among the values at all."""
    if purpose == "return_path":
        return TARGET in {value.strip().rstrip(".").lower() for value in values}
    if purpose == "dmarc":
        return any("DMARC1" in value and "p" in value for value in values)
    wanted = {"ownership": OWNERSHIP, "dkim": KEY, "dkim_ed25519": ED25519_KEY}[purpose]
    return any(wanted in "".join(value.split()) for value in values)


@given(st.sampled_from(sorted(VALUES)), evidence_of_any_kind, zones_of_any_kind)
@example("ownership", sides([HAS], [Failure.BOGUS]), ZONE)
@example("dkim", heard(DKIM[:255]), ZONE)
def test_any_evidence_gets_a_verdict_and_nothing_is_found_that_is_not_there(
    purpose: str, evidence: RecordEvidence, zone: ZoneEvidence
) -> None:
    kind = "CNAME" if purpose == "return_path" else "TXT"
    record = ExpectedRecord(purpose, kind, f"{LABEL_OF[purpose]}.{DOMAIN}", VALUES[purpose])
    verdict = judge(record, evidence, zone, siblings=[replace(record, name="other")])
    told_of = [one for one in evidence.authority + evidence.resolvers if one.failure is None]
    inherited = evidence.inherited.values if evidence.inherited and purpose == "dmarc" else ()
    if verdict.status in {"found", "propagating"}:
        assert any(holds(purpose, one.values) for one in told_of) or holds(purpose, inherited)
    if verdict.status == "found" and verdict.diagnosis != Diagnosis.POLICY_INHERITED:
        answering = [one for one in evidence.authority if one.failure is None and (one.values or not one.alias)]
        assert all(holds(purpose, one.values) for one in answering)
    if not told_of:
        assert verdict.status in {"unreachable", "missing"}
    assert verdict.diagnosis in {"", *Diagnosis}
    assert bool(verdict.diagnosis) == bool(verdict.explanation)
    assert bool(verdict.diagnosis) or verdict.status == "found"
    assert (verdict.visible_in_s is None) == (verdict.diagnosis != "propagating")
    assert len(verdict.found) <= KEPT_VALUES + 1
    assert len(verdict.explanation) <= KEPT_EXPLANATION + 40
    assert "\0" not in "".join(verdict.found) + verdict.explanation


@given(zones_of_any_kind)
def test_any_zone_gets_a_verdict(zone: ZoneEvidence) -> None:
    verdict = judge_zone(zone)
    assert verdict.diagnosis in {"", *Diagnosis}
    assert bool(verdict.diagnosis) == bool(verdict.explanation)


def test_every_diagnosis_has_its_case() -> None:
    by_value = {row[2] for row in WRONG}
    by_sides = {row[3] for row in SIDES}
    by_zone = {row[1] for row in ZONES}
    by_place = {
        "doubled_name", "underscore_refused", "at_apex", "txt_in_place_of_cname", "cname_in_place_of_txt", "proxied",
        "wildcard_answers", "policy_inherited", "test_mode",
    }  # fmt: skip
    assert (by_value | by_sides | by_zone | by_place) - {""} == set(Diagnosis)
