"""What the sandbox is told to do wrong is what the checks say is wrong: by real packets, from lie to diagnosis."""

import pytest
from django.conf import LazySettings

from accounts.models import Organization
from domains.diagnosis.judge import judge, judge_zone
from domains.dns.asking import gather
from domains.dns.evidence import Evidence
from domains.models import SendingDomain
from domains.services import add_domain
from relay.sandbox.mistakes import MISTAKES
from relay.sandbox.zone import publish
from tests.sandbox_servers import HOST, dns_over_database

pytestmark = pytest.mark.django_db(transaction=True)

# By mistake: the record to look at, what is said of it, and of the zone.
SAID = {
    "doubled_name": ("ownership", "missing", "doubled_name", ""),
    "underscore_refused": ("dkim", "missing", "underscore_refused", ""),
    "name_empty": ("dkim", "missing", "at_apex", ""),
    "dkim_forgotten": ("dkim", "missing", "missing", ""),
    "wildcard_txt": ("ownership", "missing", "wildcard_answers", ""),
    "wildcard_cname": ("return_path", "missing", "wildcard_answers", ""),
    "quotes": ("dkim", "different", "quotes_in_value", ""),
    "spaces": ("ownership", "different", "spaces_in_value", ""),
    "backslashes": ("dkim", "different", "backslashes_in_value", ""),
    "lower_case": ("dkim", "different", "letters_changed", ""),
    "wrong_token": ("ownership", "different", "wrong_token", ""),
    "key_part_lost": ("dkim", "different", "key_part_lost", ""),
    "key_cut_off": ("dkim", "different", "key_part_lost", ""),  # at the end of the first string
    "key_in_two_records": ("dkim", "different", "several_records", ""),
    "two_dkim": ("dkim", "different", "several_records", ""),
    "keys_swapped": ("dkim", "different", "key_of_other_selector", ""),
    "other_key": ("dkim", "different", "key_differs", ""),
    "key_revoked": ("dkim", "different", "key_revoked", ""),
    "key_restricted": ("dkim", "different", "key_restricted", ""),
    "elsewhere": ("return_path", "different", "other_target", ""),
    "target_doubled": ("return_path", "different", "domain_appended_to_target", ""),
    "cname_for_txt": ("dkim", "different", "cname_in_place_of_txt", ""),
    "txt_for_cname": ("return_path", "different", "txt_in_place_of_cname", ""),
    "proxied": ("return_path", "different", "proxied", ""),
    "two_dmarc": ("dmarc", "different", "several_records", ""),
    "no_policy": ("dmarc", "different", "policy_invalid", ""),
    "unknown_policy": ("dmarc", "different", "policy_invalid", ""),
    "two_spf": ("ownership", "found", "", ""),
    "spf_allows_all": ("ownership", "found", "", ""),
    "spf_too_many_lookups": ("ownership", "found", "", ""),
    "cached_old": ("dkim", "propagating", "propagating", ""),
    "cached_nothing": ("dkim", "propagating", "propagating", ""),
    "servers_disagree": ("dkim", "propagating", "servers_disagree", ""),
    "nxdomain": ("dkim", "missing", "domain_does_not_exist", "domain_does_not_exist"),
    "silent": ("dkim", "unreachable", "nameservers_timeout", "nameservers_timeout"),
    "servfail": ("dkim", "unreachable", "nameservers_servfail", "nameservers_servfail"),
    "refused": ("dkim", "unreachable", "nameservers_refused", "nameservers_refused"),
    "lame": ("dkim", "unreachable", "nameservers_lame", "nameservers_lame"),
    "lame_upward": ("dkim", "unreachable", "nameservers_lame", "nameservers_lame"),
    "one_lame": ("dkim", "found", "", "nameservers_lame"),
    "one_silent": ("dkim", "found", "", "nameservers_timeout"),
    "dnssec_failure": ("dkim", "unreachable", "dnssec_failure", "dnssec_failure"),
    "dnssec_key_missing": ("dkim", "unreachable", "dnssec_failure", "dnssec_failure"),
    "dnssec_unsigned": ("dkim", "unreachable", "dnssec_failure", "dnssec_failure"),
    "truncated": ("dkim", "found", "", ""),
}  # fmt: skip


def test_every_mistake_gets_its_diagnosis(settings: LazySettings) -> None:
    assert set(SAID) == set(MISTAKES)
    organization = Organization.objects.create(name="Ours")
    domains: dict[str, SendingDomain] = {}
    for number, mistake in enumerate(MISTAKES):
        domains[mistake] = add_domain(organization, f"mistaken{number}.test")
        publish(domains[mistake], mistake=mistake)
    records = {mistake: list(domain.records.all()) for mistake, domain in domains.items()}
    with dns_over_database() as server:
        settings.DNS_NAMESERVERS = [f"{HOST}:{server.port}"]
        settings.SANDBOX_DNS_PORT = settings.DNS_AUTHORITY_PORT = server.port
        evidence: dict[str, Evidence] = {}
        names = list(MISTAKES)
        for few in (
            names[at : at + 5] for at in range(0, len(names), 5)
        ):  # what one look may take is bounded, whatever else this machine does
            asked = [(domains[mistake].name, records[mistake]) for mistake in few]
            evidence |= dict(zip(few, gather(asked), strict=True))
    said = {}
    for mistake, (purpose, *_) in SAID.items():
        record = next(one for one in records[mistake] if one.purpose == purpose)
        heard = evidence[mistake]
        verdict = judge(record, heard.records[record.pk], heard.zone, siblings=records[mistake])
        said[mistake] = (purpose, verdict.status, verdict.diagnosis, judge_zone(heard.zone).diagnosis)
    assert said == SAID
