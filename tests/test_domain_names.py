"""What people type as a domain: taken in the form that DNS has, or refused in words that tell what to type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.names import (
    LONGEST_DOMAIN,
    DomainRefused,
    check_sendable,
    is_public_suffix,
    normalize_domain,
    to_unicode,
)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("example.com", "example.com"),
        ("  Example.COM. ", "example.com"),
        ("mail.example.co.uk", "mail.example.co.uk"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # IDNA 2008 keeps ß
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_name_is_taken_in_its_dns_form(typed: str, name: str) -> None:
    assert normalize_domain(typed) == name


@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [
        ("", "domain_empty", "example.com"),
        ("   ", "domain_empty", "example.com"),
        ("https://www.example.com/contact?x=1", "domain_is_url", "www.example.com."),
        ("example.com/", "domain_is_url", "alone: example.com."),
        ("http://joe@example.com:8080", "domain_is_url", "alone: example.com."),
        ("joe@example.com", "domain_is_address", "example.com."),
        ("Joe <joe@example.com>", "domain_is_address", "after the @: example.com."),
        ("192.0.2.1", "domain_is_ip", "192.0.2.1"),
        ("[192.0.2.1]", "domain_is_ip", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "domain_is_ip", "2001:db8::1"),
        ("2001:db8::1", "domain_is_ip", "2001:db8::1"),
        ("１９２.０.２.１", "domain_is_ip", "192.0.2.1"),
        ("example..com", "domain_invalid", "nothing between two of its dots"),
        (".example.com", "domain_invalid", "nothing between"),
        ("exa mple.com", "domain_invalid", "exa mple.com"),
        ("exam_ple.com", "domain_invalid", "exam_ple.com"),
        ("-example.com", "domain_invalid", "-example.com"),
        ("example.com:25", "domain_invalid", "example.com:25"),
        ("exam\0ple.com", "domain_invalid", "letters"),
        ("a" * 64 + ".test", "domain_too_long", "63"),
        (".".join(["a" * 60] * 5), "domain_too_long", "253"),
    ],
)
def test_other_things_are_refused_in_words(typed: str, code: str, says: str) -> None:
    with pytest.raises(DomainRefused) as refused:
        normalize_domain(typed)
    assert refused.value.code == code
    assert says in refused.value.detail


@given(st.text(max_size=80))
def test_any_text_is_normalized_for_good_or_refused(typed: str) -> None:
    try:
        name = normalize_domain(typed)
    except DomainRefused:
        return
    assert name.isascii()
    assert name == name.lower()
    assert len(name) <= 253
    assert normalize_domain(name) == name


@pytest.mark.parametrize(
    "name", ["example.test", "example.com", "mail.example.co.uk", "github.io", "demo.example.test"]
)
def test_registrable_name_can_send(name: str) -> None:
    check_sendable(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("com", "domain_single_label"),
        ("localhost", "domain_single_label"),
        ("co.uk", "domain_public_suffix"),
        ("xn--55qx5d.cn", "domain_public_suffix"),  # 公司.cn
        ("192.0.2.1", "domain_is_ip"),
        ("a" * 60 + "." + ".".join(["b" * 60] * 2) + "." + "c" * 50 + ".test", "domain_too_long"),
    ],
)
def test_name_that_nobody_can_prove_is_refused(name: str, code: str) -> None:
    with pytest.raises(DomainRefused) as refused:
        check_sendable(name)
    assert refused.value.code == code


def test_longest_domain_leaves_room_for_its_records() -> None:
    name = ".".join(["a" * 60] * 3) + "." + "b" * (LONGEST_DOMAIN - 3 * 61 - 5) + ".test"
    assert len(name) == LONGEST_DOMAIN
    check_sendable(name)


def test_platforms_own_names_are_for_the_platform_only(settings: object) -> None:
    settings.HOSTNAME, settings.SYSTEM_DOMAIN = "mail.platform.test", "platform.test"  # type: ignore[attr-defined]
    for name in ("mail.platform.test", "platform.test"):
        with pytest.raises(DomainRefused) as refused:
            check_sendable(name)
        assert refused.value.code == "domain_of_platform"
        check_sendable(name, for_platform=True)
    check_sendable("customer.platform.test")


def test_test_is_a_suffix_and_names_below_it_are_not() -> None:
    assert is_public_suffix("test")
    assert not is_public_suffix("example.test")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("xn--bcher-kva.example", "bücher.example"),
        ("example.com", "example.com"),
        ("xn--a.example", "xn--a.example"),  # no valid A-label: as it is
        ("_dmarc.xn--bcher-kva.example", "_dmarc.bücher.example"),
    ],
)
def test_name_is_shown_as_people_write_it(name: str, shown: str) -> None:
    assert to_unicode(name) == shown
