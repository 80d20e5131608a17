"""The table by which a reply gets its reason: one ordered list, the first row that fits decides. No I/O.

A provider's quirk is a row. Most telling first: what providers say with a code of another meaning; enhanced codes; words;
what is left of a vague code. `tests/test_replies.py` has a sample of each.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    """`code`: how the reply code begins; `detail`: the whole enhanced code without its class; `words`: found in the text.
    An empty column fits all."""

    code: str
    detail: re.Pattern[str] | None
    words: re.Pattern[str] | None
    reason: str

    def fits(self, code: str, detail: str, text: str) -> bool:
        return (
            code.startswith(self.code)
            and (self.detail is None or self.detail.fullmatch(detail) is not None)
            and (self.words is None or self.words.search(text) is not None)
        )


# fmt: off
_QUIRKS = [
    # ---- "Dead address" codes over another matter: nobody may be suppressed for these.
    ("", "1.[01]|2.[01]|7.1", r"receiving (e?mail|messages) (too quickly|at a rate)", "mailbox_busy"),  # Gmail
    ("4", "1.1", r"verification (is )?in progress", "greylisted"),  # Postfix asks its backend first
    ("", "1.1|2.1", r"\bspam\b|unsolicited", "spam_suspected"),
    ("", "1.1|2.1", r"mailbox (is )?full|over ?quota|quota exceeded", "mailbox_full"),
    ("", "1.[13]|2.1", r"spamhaus|barracuda|\b(rbl|dnsbl)\b|block.?list|black.?list", "ip_listed"),
    ("", "1.1|2.1", r"rate.?limit|too many (messages|connections|recipients)", "rate_limited"),
    ("", "1.1|2.1", r"relay(ing)? (access )?denied", "relay_denied"),
    # ---- Microsoft 365, Outlook.com, Exchange
    ("5", "4.1", r"recipient address rejected: access denied", "no_such_address"),
    ("5", "1.10", r"RESOLVER\.ADR|recipient not found", "no_such_address"),
    ("", "", r"RESOLVER\.RST\.(NotAuthorized|AuthRequired|SendersNotAllowed)|SenderNotAuthenticatedFor",
     "recipient_restricted"),
    ("4", "3.2", r"recipient thread limit|concurrent connections? limit.*mailbox", "mailbox_busy"),
    ("", "2.12[12]", "", "mailbox_busy"),
    ("", "1.20|7.512", "", "message_malformed"),
    ("", "1.351", "", "no_such_address"),
    ("", "7.(12|124|13[3-7])", "", "recipient_restricted"),
    ("", "7.(54|57|64)", "", "relay_denied"),
    ("", "7.50[1-3]", r"spam|access denied", "spam_suspected"),
    ("", "7.506", "", "our_name_rejected"),
    ("", "7.508", "", "rate_limited"),
    ("", "7.5(09|15)", "", "authentication_failed"),
    ("", "7.(511|60[6-9]|6[1-4][0-9]|708)", "", "ip_listed"),
    ("4", "7.[5-8][0-9][0-9]", "", "rate_limited"),
    ("5", "", r"\bS31[45]0\b|\b(DY|OU)-00[12]\b|\bSC-004\b", "ip_listed"),
    ("", "", r"\bRP-00[1-3]\b", "rate_limited"),
    # ---- Gmail gives numbers of the 5.7 series its own meanings.
    ("", "7.29", r"\bTLS\b", "tls_required_by_receiver"),
    ("", "7.28", r"(DKIM|SPF|URL|from) (identifier|domain)|your.{0,20}domains?\b", "sender_limited"),
    ("", "7.27", r"null.?mx", "sender_rejected"),  # what RFC 7505 (6) meant it for
    # ---- Yahoo and AOL
    ("", "", r"\[(TSS?0?[39]|TSS1[01]|BL2[0-9])\]|will be permanently deferred", "ip_listed"),
    ("", "", r"\[(TSS?0[0-9])\]", "rate_limited"),
    ("", "", r"\[PH01\]", "spam_suspected"),
    ("", "", r"\[GL01\]", "greylisted"),
    # ---- Others
    ("450", "3.2", "", "greylisted"),  # Postfix's postscreen: a new client has to come again
    ("451", "", r"internal resources? (is |are )?temporarily unavailable", "greylisted"),  # Mimecast's greylisting
    ("", "", r"may not exist, .{0,20}may be blacklisted", "permanent_failure"),  # cPanel: it does not know itself
    ("", "", r"recipients received this hour", "rate_limited"),  # Cisco
    ("", "1.0", r"^#?[45.10 ]*address rejected\.?$", "no_such_address"),  # Cisco
    ("550", "", r"permanent failure for one or more recipients.*:blocked", "spam_suspected"),  # Barracuda
]

# RFC 3463 (3) and the registry of RFC 5248, where they are to be trusted whatever the words say.
_ENHANCED = [
    ("", "1.[13]", "", "no_such_address"),
    ("", "1.2", "", "no_such_domain"),
    ("", "1.6", "", "mailbox_moved"),
    ("", "1.[78]", "", "sender_rejected"),
    ("", "1.10", "", "no_mail_for_domain"),  # RFC 7505
    ("", "2.1", "", "mailbox_disabled"),
    ("", "2.2", "", "mailbox_full"),
    ("", "2.3|3.4", "", "message_too_large"),
    ("4", "3.[12]", "", "exchanger_busy"),
    ("", "4.2", "", "connection_lost"),
    ("", "4.(6|14)", "", "mail_loop"),
    ("", "5.3", "", "too_many_recipients"),
    ("", "6.7", "", "no_smtputf8"),  # RFC 6531
    ("", "7.10", "", "tls_required_by_receiver"),
    ("", "7.25", "", "our_name_rejected"),  # RFC 7372
    ("", "7.(2[0-4679]|30|32|40)", "", "authentication_failed"),  # RFC 7372 and 8617; 7.28 follows below
]

_WORDS = [
    ("", "", r"gr[ae]y-?list", "greylisted"),
    ("", "", r"hop count|too many hops|mail loop|routing loop|loops? back|is looping|received. headers", "mail_loop"),
    ("", "", r"relay(ing)?:? (access )?(is )?(denied|not (permitted|allowed))|unable to relay|do(es)? not relay|rcpthosts",
     "relay_denied"),
    ("", "", r"starttls|(encryption|\bTLS\b)[^.]{0,20} required|requires? (\w+ )?(encryption|TLS\b)",
     "tls_required_by_receiver"),
    ("", "", r"\bPTR\b|reverse.?(dns|host)|\brDNS\b|cannot find your"
             r"|\b(helo|ehlo)\b[^.]{0,60}(reject|invalid|denied|refus|unknown|not (found|exist))",
     "our_name_rejected"),
    ("", "", r"(recipient|user|mailbox|account)[^.;]{0,40}(rate limit|exceeded (its|their|the) (message|hourly|limit))",
     "mailbox_busy"),
    ("", "", r"\b(DBL|SURBL|URIBL)\b|(domain|url|link)s?\b[^.]{0,40}(listed|block.?list|black.?list)", "domain_listed"),
    ("", "", r"rate.?(limit|control)|throttl|unexpected volume|complaints|temporarily deferred|unusual rate|slow down"
             r"|too (many|much) (messages|e?-?mails?|spams?)|(frequency|(?<!size )limits?) (is )?(exceeded|limited|within)"
             r"|(sending|too) (fast|quickly)|try again later.{0,40}volume|max(imum)? messages? per", "rate_limited"),
    ("", "", r"too many (concurrent |simultaneous |open )?(smtp )?(connections|sessions)|(server|system)( is)?( too)? busy"
             r"|overload|load (average )?(is )?too high|insufficient (system )?(storage|resources)|space shortage"
             r"|resources (are )?temporarily|maximum (number of )?(\w+ ){0,3}(connections|sessions)|connection limit"
             r"|connection time\b|shutting down", "exchanger_busy"),
    ("", "", r"spamhaus|spamcop|barracuda|\bsorbs\b|\b(rbl|dnsbls?)\b|dnsbl|blocked using|ipcheck|\bblack.?list"
             r"|block.?list|deny.?list|(poor|bad) reputation|\bIP reputation"
             r"|reputation of the sending IP|(\bIP\b|sending IP)[^.]{0,60}\b(banned|blocked|listed)"
             r"|banned sending IP|dynamic IP|originating from your IP", "ip_listed"),
    ("", "", r"\b(spf|dkim|dmarc)\b|unauthenticated|sender id|anti-?spoofing|authentication (level|results|checks?)",
     "authentication_failed"),
    ("", "", r"sender('s)? (e?mail )?(address|account|domain|verif\w*)?[^.]{0,30}"
             r"(reject|denied|invalid|fail|unknown|refused|not (exist|found))|badmailfrom|blocked senders|domain of sender"
             r"|verif(y|ication)[^.]{0,20} sender|callout verif|account of the sender"
             r"|unknown sender|(from|return) address[^.]{0,30}(reject|invalid|unknown|not )", "sender_rejected"),
    ("", "", r"(mailbox|inbox|account|user) (is )?full|over.?quota|quota (is |has been )?exceeded"
             r"|exceed\w* [^.]{0,20}(quota|storage)|out of (storage|disk)|mailbox size|storage allocation", "mailbox_full"),
    ("", "", r"\bRFC ?(5322|2822|822|5321|2045|1341)\b|malformed|bare (lf|cr|newline)|line (is )?too long|line length"
             r"|(duplicate|multiple|missing|invalid)[^.]{0,30}headers?\b|corrupt|invalid mime", "message_malformed"),
    ("", "", r"(?<!your )\b(mailbox|account|user|recipient|address)\b[^.]{0,30}\b(disabled|inactive|deactivated"
             r"|suspended|closed|no longer (active|in use|available|valid|exists))", "mailbox_disabled"),
    ("5", "", r"(recipient )?domain (was )?(not found|does not exist|unknown)|(unknown|no such) (recipient )?domain"
              r"|domain lookup failed",
     "no_such_domain"),
    ("55", "(|[0-6][0-9.]*)", r"^[^;]*mailbox (is )?unavailable", "no_such_address"),  # RFC 5321, 4.2.3: Outlook.com, GMX
    ("", "", r"\b(user|recipient|(?<!ip )address|mailbox|account)\b[^.]{0,40}\b(unknown|not found|doesn't exist"
             r"|does not exist|invalid)|unrouteable address|(no such|unknown|invalid|not a valid) (local )?(user|recipient"
             r"|mailbox|address)|no (mailbox|account|user) (here )?(by|with) that name|doesn't have an? \S+ account"
             r"|illegal alias", "no_such_address"),
    ("", "", r"does not accept mail|null.?mx", "no_mail_for_domain"),
    ("", "", r"has moved|forwarding address|user not local", "mailbox_moved"),
    ("", "", r"too many recipients", "too_many_recipients"),
    ("", "", r"virus|malware|trojan|eicar|infected", "virus_suspected"),
    ("", "", r"\bspam|junk|unsolicited|bulk mail|suspicious|phish|reputation of the sending domain", "spam_suspected"),
    ("", "", r"(message|e?mail|content|attachment)s? (size|length|too (large|big)|exceed)|too (large|big)|size (limit|exceeds)",
     "message_too_large"),
    ("", "", r"(content|attachments?|file)[^.]{0,60}(reject|denied|not allowed|blocked|banned|prohibited|security issue|policy)"
             r"|\bbanned\b|content (filter|examination)", "content_rejected"),
    ("45", "7.1", r"(try again|come back) later", "greylisted"),  # rspamd, Yandex
    ("4", "", r"temporar(y|ily)[^.]{0,20}(server|system|local|lookup|failure|error|problem|unavailable)", "temporary_failure"),
    ("", "", r"block(ed)?\b|polic(y|ies)|prohibit|access denied|refused|not authori[sz]ed|reputation|your access", "policy"),
]

# What a vague code still says when the words say nothing.
_VAGUE = [
    ("", "7.28", "", "rate_limited"),
    ("", "6.[0-9]+", "", "message_malformed"),
    ("", "7.[01]", "", "policy"),
    ("421", "", "", "exchanger_busy"),  # RFC 5321, 4.2.3: service not available
    ("452", "", "", "exchanger_busy"),  # insufficient system storage
    ("551", "", "", "mailbox_moved"),  # user not local
    ("552", "", "", "message_too_large"),  # exceeded storage allocation
    ("556", "", "", "no_mail_for_domain"),  # RFC 7504
]
# fmt: on


def _row(code: str, detail: str, words: str, reason: str) -> Row:
    return Row(
        code,
        re.compile(detail.replace(".", r"\.")) if detail else None,
        re.compile(words, re.I) if words else None,
        reason,
    )


ROWS = tuple(_row(*columns) for columns in (*_QUIRKS, *_ENHANCED, *_WORDS, *_VAGUE))
