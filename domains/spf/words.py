"""What the reading of an SPF record finds, in words. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warn", "info", "ok"]  # error: receivers can make no use of the record, or it protects nothing


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable, `text` says what it means and what to do."""

    code: str
    level: Level
    text: str


ALL_CODES = {"+": "passes_all", "?": "neutral_all"}  # by the qualifier of `all`; - and ~ are as they should be

# In the list of lookups, by the code of the finding that tells more.
PROBLEMS = {
    "target_missing": "no SPF record there",
    "target_several": "several SPF records there",
    "loop": "leads back to where it came from",
    "no_answer": "DNS did not answer",
    "broken": "a broken record",
    "many_exchangers": "more than 10 exchangers",
    "void": "leads to nothing",
}


def finding(code: str, **values: object) -> Finding:
    level, text = FINDINGS[code]
    return Finding(code, level, text.format_map(values))


FINDINGS: dict[str, tuple[Level, str]] = {
    # No record, or more than one.
    "none": (
        "ok",
        "There is no SPF record at {name}, and mail sent with PlugSend needs none: receivers check SPF at the return path, "
        "{return_path}, which leads to PlugSend’s own record. Do other services send as {name}? Then publish the record that "
        "they ask for. Does nothing else? Then “v=spf1 -all” tells receivers that the bare domain sends no mail of its own.",
    ),
    "fine": ("ok", "Receivers can use this record. It takes {lookups} of the 10 DNS lookups that they make."),
    "dns_failed": (
        "warn",
        "The name servers of {domain} did not answer, so its SPF record could not be read. We look again.",
    ),
    "several": (
        "error",
        "There are {number} SPF records. Receivers then use none of them (RFC 7208, 4.5): put what they hold into one, with "
        "one v=spf1 in front and one all at the end.",
    ),
    "not_recognised": (
        "error",
        "The TXT record “{text}” looks like SPF, but receivers pass it over: it must begin with “v=spf1” and a space, without "
        "quotation marks or anything else in front.",
    ),
    "only_old_type": (
        "error",
        "The record has the type SPF, which receivers no longer ask for (RFC 7208, 3.1). Publish it with the type TXT.",
    ),
    "old_type": ("info", "There is a record of the type SPF as well, which nobody asks for any more. It can go."),
    "stray_part": (
        "error",
        "The TXT record “{text}” looks like the rest of an SPF record. A second record is not read on from the first: put "
        "everything into one record, or into several strings of one record.",
    ),
    "space_missing": (
        "error",
        "The record is in several strings, and DNS joins them without a space: “{left}” and “{right}” become one word. Write "
        "a space at the end of the first string.",
    ),
    "large_answer": (
        "warn",
        "The TXT records at this name fill {octets} octets, more than fits one UDP packet. Receivers have to ask again over "
        "TCP, which some networks block. Remove TXT records that are no longer needed.",
    ),
    "long_record": ("error", "The record is longer than {most} octets. Receivers may give up, and we read no further."),
    # The record.
    "syntax": ("error", "At character {at}: “{text}” {problem}. With one mistake receivers ignore the whole record."),
    "too_many_lookups": (
        "error",
        "The record takes {lookups} DNS lookups, and receivers stop after 10 and then treat it as broken (RFC 7208, 4.6.4). "
        "Take out what no longer sends for you; an include of a service may cost several.",
    ),
    "too_many_voids": (
        "error",
        "{voids} of the names in it lead to nothing, and receivers stop after 2 (RFC 7208, 4.6.4). Take these names out.",
    ),
    "passes_all": (
        "error",
        "“{text}” lets everybody in the world send as this domain. Write ~all or -all.",
    ),
    "neutral_all": (
        "warn",
        "“{text}” says nothing about those who are not listed, so forgers are not told apart. Write ~all or -all.",
    ),
    "no_all": (
        "warn",
        "The record does not end in all, so it says nothing about those who are not listed. Write ~all or -all at its end.",
    ),
    "after_all": ("info", "What stands after all is never looked at: “{text}”. Move it in front of all, or remove it."),
    "redirect_ignored": ("info", "“{text}” has no effect beside all. Remove one of the two."),
    "ptr": (
        "warn",
        "The mechanism ptr should not be used (RFC 7208, 5.5): it is slow, and some receivers ignore it. Name the addresses.",
    ),
    "broad_network": (
        "warn",
        "“{text}” covers addresses of very many owners, who may all send as this domain. Narrow it.",
    ),
    "include_platform": (
        "info",
        "“{text}” is not needed: mail sent with PlugSend has its own return path, which carries our record. It costs a DNS "
        "lookup; you may take it out.",
    ),
    "equals_sign": ("warn", "“{text}” is written with “=”, so receivers pass it over. Write {name}: with a colon."),
    "macros": (
        "info",
        "“{text}” holds macros: what it stands for depends on each message, so it was counted, not followed.",
    ),
    "repeated": ("info", "Named more than once, and asked for each time: {text}."),
    # What it leads to.
    "target_missing": (
        "error",
        "“{term}”: there is no SPF record at {domain}. Receivers then treat your record as broken. Take it out, or mend the "
        "name.",
    ),
    "target_several": (
        "error",
        "“{term}”: there are several SPF records at {domain}, so receivers treat yours as broken. Tell its owner, or take it "
        "out.",
    ),
    "loop": (
        "error",
        "“{term}” leads back to where it came from, so receivers go round until they give up. Take it out.",
    ),
    "no_answer": (
        "warn",
        "“{term}”: DNS did not answer for {domain} in time. While that is so, receivers put mail off.",
    ),
    "broken": (
        "error",
        "“{term}”: the record of {domain} is broken, and yours with it: “{text}” {problem}. Tell its owner, or take it out.",
    ),
    "include_passes_all": (
        "error",
        "“{term}”: the record of {domain} lets everybody pass, and so does yours by including it. Take it out.",
    ),
    "many_exchangers": (
        "error",
        "“{term}”: {domain} has more than 10 mail exchangers, which receivers treat as an error (RFC 7208, 4.6.4). Name the "
        "addresses instead.",
    ),
    "void": ("warn", "“{term}”: {domain} has no such record, so it stands for nothing. Take it out, or mend the name."),
}
