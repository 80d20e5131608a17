"""What can be wrong with a DNS record or with the zone it is in: one table of stable words, each told in general.

REST and pages give the word with an explanation made for the very record; docs/domain-diagnoses.md shows this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto


class Diagnosis(StrEnum):
    """At most 40 characters; a word is never given another meaning."""

    # ---- Right, with something to say
    TEST_MODE = auto()
    POLICY_INHERITED = auto()
    # ---- Published, and not seen by all
    PROPAGATING = auto()
    SERVERS_DISAGREE = auto()
    # ---- Not there
    MISSING = auto()
    DOUBLED_NAME = auto()
    UNDERSCORE_REFUSED = auto()
    AT_APEX = auto()
    WILDCARD_ANSWERS = auto()
    CNAME_IN_PLACE_OF_TXT = auto()
    TXT_IN_PLACE_OF_CNAME = auto()
    PROXIED = auto()
    # ---- There, and not as it must be
    QUOTES_IN_VALUE = auto()
    SPACES_IN_VALUE = auto()
    BACKSLASHES_IN_VALUE = auto()
    LETTERS_CHANGED = auto()
    EXTRA_TEXT = auto()
    SEVERAL_RECORDS = auto()
    WRONG_TOKEN = auto()
    OTHER_TEXT = auto()
    OTHER_TARGET = auto()
    DOMAIN_APPENDED_TO_TARGET = auto()
    KEY_CUT_OFF = auto()
    KEY_PART_LOST = auto()
    KEY_OF_OTHER_SELECTOR = auto()
    KEY_DIFFERS = auto()
    KEY_REVOKED = auto()
    NOT_DKIM = auto()
    KEY_RESTRICTED = auto()
    NOT_DMARC = auto()
    POLICY_INVALID = auto()
    # ---- The zone, or no answer
    DOMAIN_DOES_NOT_EXIST = auto()
    NO_NAMESERVERS = auto()
    NAMESERVERS_TIMEOUT = auto()
    NAMESERVERS_LAME = auto()
    NAMESERVERS_REFUSED = auto()
    NAMESERVERS_SERVFAIL = auto()
    NAMESERVERS_MALFORMED = auto()
    DNSSEC_FAILURE = auto()
    NO_ANSWER = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """`title` without a final stop; `meaning` and `remedy` are sentences."""

    title: str
    meaning: str
    remedy: str


TABLE: dict[Diagnosis, Entry] = {
    Diagnosis.TEST_MODE: Entry(
        "The key is marked as a test",
        "The record is right, but its tag `t=y` tells receivers that they may ignore the signature (RFC 6376, 3.6.1).",
        "Remove the tag `t=y` when you are ready.",
    ),
    Diagnosis.POLICY_INHERITED: Entry(
        "The domain above has the policy",
        "There is no DMARC record for this subdomain, and none is needed: receivers apply that of the organizational "
        "domain (RFC 7489, 6.6.3).",
        "Nothing. Publish a record of its own only if this subdomain is to have another policy.",
    ),
    Diagnosis.PROPAGATING: Entry(
        "Published, not visible to all yet",
        "Every name server of the domain has the record. Some resolvers remember what was there before.",
        "Wait. They forget it when its time to live is over; nobody can hurry them.",
    ),
    Diagnosis.SERVERS_DISAGREE: Entry(
        "The name servers disagree",
        "Some of the domain's name servers have the record and others do not.",
        "Wait some minutes. If it lasts, one of them no longer gets updates: ask the DNS host, or remove that name server "
        "at the registrar.",
    ),
    Diagnosis.MISSING: Entry(
        "Not there",
        "There is no record of this type at this name.",
        "Add it at the DNS host. It is seen within minutes of being saved there.",
    ),
    Diagnosis.DOUBLED_NAME: Entry(
        "The domain was appended twice",
        "The record is at a name that ends in the domain twice: the whole name was typed into a form that adds the domain "
        "by itself.",
        "Change the name of the record to the short form that the page shows.",
    ),
    Diagnosis.UNDERSCORE_REFUSED: Entry(
        "The underscore is missing",
        "The record is at the same name without its underscores.",
        "Type the name with the underscores. They are valid in DNS (RFC 8552); if the form refuses them, the support of "
        "the DNS host can add the record.",
    ),
    Diagnosis.AT_APEX: Entry(
        "The record is at the domain itself",
        "The name field was left empty, or held only “@”.",
        "Type the name that the page shows. Remove the record from the domain itself.",
    ),
    Diagnosis.WILDCARD_ANSWERS: Entry(
        "A wildcard record answers",
        "There is nothing at this name itself. A record at `*` answers for all names that do not exist (RFC 4592).",
        "Add the record at its own name. The wildcard may stay: it gives way.",
    ),
    Diagnosis.CNAME_IN_PLACE_OF_TXT: Entry(
        "A CNAME where a TXT is needed",
        "The name is an alias of another one, and no matching TXT record is there.",
        "Remove the CNAME and add the TXT record. The two cannot share a name (RFC 1034, 3.6.2).",
    ),
    Diagnosis.TXT_IN_PLACE_OF_CNAME: Entry(
        "A TXT where a CNAME is needed",
        "The value is right, but the record has the type TXT.",
        "Replace it by a record of type CNAME with the same name and value.",
    ),
    Diagnosis.PROXIED: Entry(
        "An address in place of the CNAME",
        "The name holds addresses and no CNAME: the DNS host's proxy stands in for the target, or an A record was made.",
        "Switch the proxy off for this record (at Cloudflare: “DNS only”), or replace the A record by the CNAME.",
    ),
    Diagnosis.QUOTES_IN_VALUE: Entry(
        "Quotation marks inside",
        "The quotation marks have become a part of the value.",
        "Remove them. Most DNS forms add their own.",
    ),
    Diagnosis.SPACES_IN_VALUE: Entry(
        "Spaces inside",
        "The value holds spaces, line breaks or invisible characters that are not in the one shown.",
        "Delete the value and paste it anew with the copy button.",
    ),
    Diagnosis.BACKSLASHES_IN_VALUE: Entry(
        "Backslashes inside",
        "There are backslashes in the value, as zone files have them before semicolons.",
        "Remove them.",
    ),
    Diagnosis.LETTERS_CHANGED: Entry(
        "Capitals and small letters were changed",
        "The value is the same but for capital and small letters, which count here.",
        "Paste it anew with the copy button. If the DNS host changes it again, ask its support.",
    ),
    Diagnosis.EXTRA_TEXT: Entry(
        "More than the value",
        "The value is there with other text around it.",
        "Leave only the value itself: no name, no type, no explanation.",
    ),
    Diagnosis.SEVERAL_RECORDS: Entry(
        "Several records",
        "There is more than one record where only one may be.",
        "Keep one, with the value shown, and remove the others.",
    ),
    Diagnosis.WRONG_TOKEN: Entry(
        "Another token",
        "The record proves the domain for another organization, or for an earlier time that it was added.",
        "Replace the value by the one shown.",
    ),
    Diagnosis.OTHER_TEXT: Entry(
        "Another text",
        "The TXT record at this name holds something else.",
        "Add a TXT record with the value shown.",
    ),
    Diagnosis.OTHER_TARGET: Entry(
        "The CNAME points elsewhere",
        "There is a CNAME at this name with another target.",
        "Change its target to the one shown.",
    ),
    Diagnosis.DOMAIN_APPENDED_TO_TARGET: Entry(
        "The domain was appended to the target",
        "The DNS host took the target for a name inside your domain.",
        "Type the target with a dot at its end.",
    ),
    Diagnosis.KEY_CUT_OFF: Entry(
        "The key is cut off",
        "Only the beginning of the key is there.",
        "Paste the whole value. If the form takes no more than 255 characters, split it into several quoted strings of one "
        "record.",
    ),
    Diagnosis.KEY_PART_LOST: Entry(
        "A part of the key is lost",
        "Keys are longer than one string of a TXT record (255 octets) and travel in parts. One of them did not arrive.",
        "Delete the record and add it anew with the whole value.",
    ),
    Diagnosis.KEY_OF_OTHER_SELECTOR: Entry(
        "The key of another selector",
        "This is a key of yours, at the wrong name: two values were swapped.",
        "Put the value shown at each name.",
    ),
    Diagnosis.KEY_DIFFERS: Entry(
        "Another key",
        "The record holds a key that is not ours.",
        "Replace the value by the one shown.",
    ),
    Diagnosis.KEY_REVOKED: Entry(
        "The key is empty",
        "An empty `p=` says that the key was revoked (RFC 6376, 3.6.1).",
        "Replace the value by the one shown.",
    ),
    Diagnosis.NOT_DKIM: Entry(
        "Not a DKIM record",
        "The value is not made of tags such as `v=DKIM1; k=rsa; p=…`, begins with another tag than `v=DKIM1`, or has no key.",
        "Replace the value by the one shown.",
    ),
    Diagnosis.KEY_RESTRICTED: Entry(
        "A tag forbids the use of the key",
        "One of the tags `k=`, `h=` or `s=` keeps receivers from using the key for our signatures (RFC 6376, 3.6.1).",
        "Remove the tag, or replace the value by the one shown.",
    ),
    Diagnosis.NOT_DMARC: Entry(
        "Not a DMARC record",
        "The TXT record at this name does not begin with `v=DMARC1`.",
        "Replace it by a DMARC record such as the one shown.",
    ),
    Diagnosis.POLICY_INVALID: Entry(
        "No valid DMARC policy",
        "The record has no policy `p=`, or one that is none of `none`, `quarantine` and `reject` (RFC 7489, 6.3).",
        "Write `p=none;`, `p=quarantine;` or `p=reject;` after `v=DMARC1;`.",
    ),
    Diagnosis.DOMAIN_DOES_NOT_EXIST: Entry(
        "The domain does not exist",
        "DNS says that there is no such domain (NXDOMAIN).",
        "See whether the name is spelt right, whether it is registered, and at the registrar whether it has expired.",
    ),
    Diagnosis.NO_NAMESERVERS: Entry(
        "The domain has no name servers",
        "No name server is entered for the domain, so nothing in it can be found.",
        "Enter the name servers of the DNS host at the registrar.",
    ),
    Diagnosis.NAMESERVERS_TIMEOUT: Entry(
        "Name servers do not answer",
        "Name servers of the domain gave no answer in time, or have no address.",
        "Usually it passes. If it lasts, ask the DNS host, and compare the name servers at the registrar with those that "
        "the DNS host gives.",
    ),
    Diagnosis.NAMESERVERS_LAME: Entry(
        "Name servers do not know the domain",
        "The registrar names servers that do not serve the domain (a lame delegation).",
        "Enter the name servers of your DNS host at the registrar, or add the domain at the DNS host.",
    ),
    Diagnosis.NAMESERVERS_REFUSED: Entry(
        "Name servers refuse to answer",
        "Name servers of the domain answer with REFUSED. As a rule the domain was removed there, or is not paid for.",
        "See whether the domain is active at the DNS host, and whether the registrar names the right name servers.",
    ),
    Diagnosis.NAMESERVERS_SERVFAIL: Entry(
        "Name servers fail",
        "Name servers of the domain answer with SERVFAIL: they cannot read the zone.",
        "Usually it passes. If it lasts, look for errors in the zone, or ask the DNS host.",
    ),
    Diagnosis.NAMESERVERS_MALFORMED: Entry(
        "Name servers answer with nonsense",
        "What came back was not a DNS answer to the question.",
        "Ask the DNS host; a firewall in front of its servers may be at fault.",
    ),
    Diagnosis.DNSSEC_FAILURE: Entry(
        "DNSSEC fails",
        "The domain is signed and the signatures do not fit: resolvers that validate treat all of it as missing.",
        "At the registrar, compare the DS record with the DNSKEY at the DNS host. Replace it, or remove it to switch DNSSEC "
        "off.",
    ),
    Diagnosis.NO_ANSWER: Entry(
        "No answer yet",
        "DNS was asked and no answer came in the time that a check has.",
        "Nothing. PlugSend asks again.",
    ),
}
