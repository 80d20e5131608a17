"""What DNS was heard to say about a record or a zone, judged: what is wrong, and what to do, in words made for this record.

Pure. `table.py` is what can be said, `records.py` compares values, `zone.py` reads the zone. Authorities are believed over
resolvers; resolvers tell what receivers of mail can see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from domains.diagnosis.case import FITS, Case
from domains.diagnosis.hosts import recognise
from domains.diagnosis.records import host_name, inherited_policy, is_meant, read
from domains.diagnosis.table import Diagnosis
from domains.diagnosis.texts import listed, shown
from domains.diagnosis.zone import WITHOUT_ANSWER, in_words, most_frequent, read_zone
from domains.dns.evidence import Failure, Heard, RecordEvidence, ZoneEvidence
from domains.records import AskedRecord

# As in domains.models.RecordStatus.
Status = Literal["found", "missing", "different", "propagating", "unreachable"]

# What a hostile zone can make us keep, and a page show.
KEPT_VALUES = 8
KEPT_CHARACTERS = 1000  # of each; an RSA-4096 key takes 750
KEPT_EXPLANATION = 1200
LONGEST_TTL_S = 7 * 86400  # RFC 8767, 4: resolvers keep nothing longer


@dataclass(frozen=True, slots=True)
class Verdict:
    """`found`: the values that DNS holds, cut to a bounded size. `diagnosis`: a word of the table; like `explanation` it is
    empty when all is well. `visible_in_s`: while propagating, when the last cache will have forgotten."""

    status: Status
    found: tuple[str, ...] = ()
    diagnosis: str = ""
    explanation: str = ""
    visible_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class ZoneVerdict:
    """As with records: both are empty when all is well."""

    diagnosis: str = ""
    explanation: str = ""


def judge(
    record: AskedRecord,
    evidence: RecordEvidence,
    zone: ZoneEvidence,
    *,
    siblings: Sequence[AskedRecord] = (),
) -> Verdict:
    """Judges one record. `siblings`: the domain's other records, to tell keys that were swapped."""
    host = recognise(server.name for server in zone.name_servers)
    case = Case(record, zone.apex, host, siblings)
    return _bounded(_judge(case, evidence, zone), case)


def judge_zone(zone: ZoneEvidence) -> ZoneVerdict:
    """Judges what all records of a domain depend on."""
    fault = read_zone(zone, zone.apex, recognise(server.name for server in zone.name_servers))
    return (
        ZoneVerdict(str(fault.diagnosis), _kept(f"{fault.what} {fault.remedy}", KEPT_EXPLANATION))
        if fault
        else ZoneVerdict()
    )


# ---- Hearing all sides -----------------------------------------------------------------------------------------------


class _Side(NamedTuple):
    """The answers of authorities, or of resolvers. `silent` gave none; of the others `fitting` hold the record and `lacking` do
    not; `referring`, authorities only, are an alias to another zone, of which they do not know more."""

    fitting: list[Heard]
    lacking: list[Heard]
    referring: list[Heard]
    silent: list[Heard]

    @property
    def answered(self) -> bool:
        return bool(self.fitting or self.lacking or self.referring)


def _sort(case: Case, answers: Sequence[Heard], *, are_authorities: bool) -> _Side:
    side = _Side([], [], [], [])
    for heard in answers:
        if heard.failure is not None:
            side.silent.append(heard)
        elif heard.values:
            (side.fitting if read(case, heard.values).fits else side.lacking).append(heard)
        elif heard.alias and are_authorities and case.record.type == "TXT":
            side.referring.append(heard)
        else:
            side.lacking.append(heard)
    return side


def _judge(case: Case, evidence: RecordEvidence, zone: ZoneEvidence) -> Verdict:
    authorities = _sort(case, evidence.authority, are_authorities=True)
    resolvers = _sort(case, evidence.resolvers, are_authorities=False)
    if not authorities.answered and not resolvers.answered:
        return _unanswered(case, evidence, zone)
    if not authorities.answered:
        return _by_resolvers(case, evidence, zone, resolvers)
    if authorities.fitting and authorities.lacking:
        return _disagreement(case, authorities)
    if authorities.lacking:
        return _lacking(case, evidence, zone, authorities.lacking + authorities.referring, remembered=resolvers.fitting)
    if authorities.referring and not authorities.fitting:
        return _by_resolvers(case, evidence, zone, resolvers, alias=authorities.referring[0].alias)
    return _published(case, zone, authorities, resolvers)


def _by_resolvers(
    case: Case, evidence: RecordEvidence, zone: ZoneEvidence, resolvers: _Side, alias: str = ""
) -> Verdict:
    """The authorities are silent, or know of nothing but the alias."""
    if resolvers.fitting and resolvers.lacking:
        return _propagating(case, resolvers)
    if resolvers.fitting:
        return _found(case, resolvers.fitting)
    if resolvers.lacking or not resolvers.silent:
        lacking = resolvers.lacking or [Heard("", alias=alias)]
        return _lacking(case, evidence, zone, lacking, remembered=())
    return _unanswered(case, evidence, zone)


def _published(case: Case, zone: ZoneEvidence, authorities: _Side, resolvers: _Side) -> Verdict:
    """All authorities that answered have the record."""
    if resolvers.lacking:
        return _propagating(case, resolvers, authorities.fitting)
    if not resolvers.answered:
        failures = {heard.failure for heard in resolvers.silent}
        if zone.dnssec or Failure.BOGUS in failures:
            return _failed(case, zone, Diagnosis.DNSSEC_FAILURE)
        if failures == {Failure.SERVFAIL}:
            return _failed(case, zone, Diagnosis.NAMESERVERS_SERVFAIL)
    return _found(case, authorities.fitting)


def _found(case: Case, fitting: Sequence[Heard]) -> Verdict:
    remarks = [read(case, heard.values) for heard in fitting]
    remark = next((one for one in remarks if one.diagnosis), FITS)
    return Verdict("found", fitting[0].values, remark.diagnosis or "", remark.explanation)


def _propagating(case: Case, resolvers: _Side, published: Sequence[Heard] = ()) -> Verdict:
    wait_s = min(max(heard.ttl_s for heard in resolvers.lacking), LONGEST_TTL_S)
    still = " still remember" if len(resolvers.lacking) > 1 else " still remembers"
    what = "what was there before" if any(heard.values for heard in resolvers.lacking) else "that there was nothing"
    where = "at all name servers of the domain" if published else "and seen by some resolvers"
    return Verdict(
        "propagating",
        (published or resolvers.fitting)[0].values,
        Diagnosis.PROPAGATING,
        f"Published {where}, visible to all {_in_about(wait_s)}: {_names(resolvers.lacking)}{still} {what}. There is nothing "
        "for you to do.",
        visible_in_s=max(wait_s, 0),
    )


def _disagreement(case: Case, authorities: _Side) -> Verdict:
    have = "have" if len(authorities.fitting) > 1 else "has"
    lack = "do not" if len(authorities.lacking) > 1 else "does not"
    return Verdict(
        "propagating",
        authorities.fitting[0].values,
        Diagnosis.SERVERS_DISAGREE,
        f"The name servers disagree: {_names(authorities.fitting)} {have} the record, {_names(authorities.lacking)} {lack}. "
        f"As a rule this passes within minutes. If it lasts, ask {case.host.name} why changes do not reach all of them.",
    )


# ---- Not there, or not as it must be ---------------------------------------------------------------------------------


def _lacking(
    case: Case, evidence: RecordEvidence, zone: ZoneEvidence, lacking: Sequence[Heard], *, remembered: Sequence[Heard]
) -> Verdict:
    values = next((heard.values for heard in lacking if heard.values), ())
    if case.record.purpose == "dmarc" and (covered := _inherited(case, evidence, values)):
        return covered
    reading = read(case, values) if values else None
    is_plain = reading is None or evidence.is_wildcard or reading.diagnosis in PLAIN
    if is_plain and (elsewhere := _elsewhere(case, evidence)):
        verdict = elsewhere
    elif reading is None:
        verdict = _absent(case, evidence, zone, lacking)
    elif evidence.is_wildcard:
        verdict = _wildcard(case, values)
    else:
        verdict = Verdict("different", values, reading.diagnosis or "", reading.explanation + _through(case, lacking))
    return _with_memory(verdict, remembered)


# Values that tell nothing of what was meant: the record may be at another name all the same.
PLAIN = {Diagnosis.OTHER_TEXT, Diagnosis.NOT_DKIM, Diagnosis.NOT_DMARC, Diagnosis.OTHER_TARGET}


def _inherited(case: Case, evidence: RecordEvidence, values: tuple[str, ...]) -> Verdict | None:
    """RFC 7489, 6.6.3, step 3: without a DMARC record of its own a subdomain is under its organizational domain's."""
    if evidence.inherited is None or (values and read(case, values).diagnosis != Diagnosis.NOT_DMARC):
        return None
    policy = inherited_policy(evidence.inherited.values)
    if not policy:
        return None
    return Verdict(
        "found",
        evidence.inherited.values,
        Diagnosis.POLICY_INHERITED,
        f"The DMARC record of the domain above, at {evidence.inherited.name}, covers this subdomain with {policy}. No other "
        "record is needed.",
    )


def _elsewhere(case: Case, evidence: RecordEvidence) -> Verdict | None:
    """The record itself, at a place where it ends up by mistake."""
    doubled, bare = evidence.doubled, evidence.bare
    name = case.record.name
    if doubled and doubled.name.startswith(name + ".") and is_meant(case, doubled.values):
        typed = name.removesuffix("." + doubled.name.removeprefix(name + "."))
        return Verdict(
            "missing",
            (),
            Diagnosis.DOUBLED_NAME,
            f"The record is at {doubled.name}: {case.host.name} adds the domain to the name by itself. Type {typed} as the "
            "name there.",
        )
    if bare and is_meant(case, bare.values):
        return Verdict(
            "missing",
            (),
            Diagnosis.UNDERSCORE_REFUSED,
            f"The record is at {bare.name}, without the underscore. Type {case.typed} as the name {case.at}. If the form "
            "refuses the underscore, ask the support there to add the record: such names are valid (RFC 8552).",
        )
    if is_meant(case, evidence.at_apex):
        return Verdict(
            "missing",
            (),
            Diagnosis.AT_APEX,
            f"The record is at {case.domain} itself: the name was left empty, or was only “@”. Type {case.typed} as the name "
            f"{case.at}.",
        )
    return None


def _absent(case: Case, evidence: RecordEvidence, zone: ZoneEvidence, lacking: Sequence[Heard]) -> Verdict:
    name = case.record.name
    alias = next((heard.alias for heard in lacking if heard.alias), "")
    wrong_type = evidence.wrong_type or ((alias,) if alias and case.record.type == "TXT" else ())
    if not zone.exists or (not zone.name_servers and zone.failure is None and zone.apex and not evidence.authority):
        return _lost_with_zone(case, zone)
    if case.record.type == "TXT" and wrong_type and evidence.is_wildcard:
        return _wildcard(case, wrong_type)
    if case.record.type == "TXT" and wrong_type:
        return Verdict(
            "different",
            wrong_type,
            Diagnosis.CNAME_IN_PLACE_OF_TXT,
            f"{name} is a CNAME to {shown(wrong_type[0])}, which does not hold this TXT record. Remove the CNAME and add the "
            f"TXT record {case.typed} {case.at}.",
        )
    if case.record.type == "CNAME" and host_name(case.record.value) in {_as_target(text) for text in wrong_type}:
        return Verdict(
            "different",
            wrong_type,
            Diagnosis.TXT_IN_PLACE_OF_CNAME,
            f"There is a TXT record at {name} where a CNAME is needed. Replace it {case.at}: type CNAME, name {case.typed}, "
            "the same value.",
        )
    if case.record.type == "CNAME" and evidence.addresses:
        return _wildcard(case, evidence.addresses) if evidence.is_wildcard else _proxied(case, evidence.addresses)
    advice = f"Add it {case.at}: type {case.record.type}, name {case.typed}, and the value shown."
    return Verdict(
        "missing",
        (),
        Diagnosis.MISSING,
        f"There is no {case.record.type} record at {name} yet. {advice} New records show within minutes as a rule.",
    )


def _as_target(text: str) -> str:
    return host_name(text.strip(" \"'"))


def _proxied(case: Case, addresses: tuple[str, ...]) -> Verdict:
    cure = case.host.proxy or (
        f"If it is a CNAME {case.at}, switch off its proxy, flattening or ALIAS; if it is an A record, replace it by the CNAME."
    )
    return Verdict(
        "different",
        addresses,
        Diagnosis.PROXIED,
        f"{case.record.name} answers with an address ({shown(addresses[0])}) and not with the CNAME. {cure}",
    )


def _wildcard(case: Case, values: tuple[str, ...]) -> Verdict:
    return Verdict(
        "missing",
        values,
        Diagnosis.WILDCARD_ANSWERS,
        f"There is no {case.record.type} record at {case.record.name} itself. A wildcard record (such as *.{case.domain}) "
        f"answers for all names that do not exist. Add the record {case.typed} {case.at}; the wildcard may stay.",
    )


def _through(case: Case, lacking: Sequence[Heard]) -> str:
    alias = next((heard.alias for heard in lacking if heard.alias and heard.values), "")
    return f" It came through a CNAME at {case.record.name} to {shown(alias)}." if alias else ""


def _with_memory(verdict: Verdict, remembered: Sequence[Heard]) -> Verdict:
    """When resolvers still have the record that the name servers no longer have."""
    if not remembered:
        return verdict
    wait_s = min(max(heard.ttl_s for heard in remembered), LONGEST_TTL_S)
    explanation = (
        f"{verdict.explanation} The right record was there: some resolvers remember it, and will have forgotten it "
        f"{_in_about(wait_s)}."
    )
    return Verdict(verdict.status, verdict.found, verdict.diagnosis, explanation, verdict.visible_in_s)


# ---- No answer -------------------------------------------------------------------------------------------------------

ASKED_AGAIN = "We ask again; nothing changes until DNS answers."


def _unanswered(case: Case, evidence: RecordEvidence, zone: ZoneEvidence) -> Verdict:
    """Nobody said anything of this record."""
    if not zone.exists:
        return _lost_with_zone(case, zone)
    resolvers = [heard.failure for heard in evidence.resolvers if heard.failure]
    authorities = [heard.failure for heard in evidence.authority if heard.failure]
    if zone.dnssec or Failure.BOGUS in resolvers:
        return _failed(case, zone, Diagnosis.DNSSEC_FAILURE)
    # What the authorities did weighs more than how resolvers put it.
    if failures := authorities or resolvers:
        return _failed(case, zone, WITHOUT_ANSWER[most_frequent(failures)], evidence.authority)
    fault = read_zone(zone, case.zone, case.host)
    return _failed(case, zone, fault.diagnosis if fault else Diagnosis.NO_ANSWER)


def _failed(case: Case, zone: ZoneEvidence, diagnosis: Diagnosis, authority: Sequence[Heard] = ()) -> Verdict:
    """What the whole zone suffers from is told at length with the zone, not with each record."""
    fault = read_zone(zone, case.zone, case.host)
    if fault and fault.diagnosis == diagnosis and not fault.is_partial:
        return Verdict("unreachable", (), diagnosis, f"{fault.what} {ASKED_AGAIN}")
    names = [heard.server for heard in authority if heard.failure]
    fault = in_words(diagnosis, case.zone, case.host, names, zone.dnssec)
    return Verdict("unreachable", (), diagnosis, f"{fault.what} {fault.remedy} {ASKED_AGAIN}")


def _lost_with_zone(case: Case, zone: ZoneEvidence) -> Verdict:
    fault = read_zone(zone, case.zone, case.host)
    assert fault is not None
    return Verdict("missing", (), fault.diagnosis, fault.what)


# ---- Words and bounds ------------------------------------------------------------------------------------------------


def _in_about(seconds: int) -> str:
    minutes = -(-seconds // 60)
    if seconds <= 0:
        return "any moment now"
    if minutes < 90:
        return "in about a minute" if minutes == 1 else f"in about {minutes} minutes"
    hours = -(-minutes // 60)
    return f"in about {hours} hours" if hours < 48 else f"in about {-(-hours // 24)} days"


def _names(answers: Sequence[Heard]) -> str:
    return listed([heard.server for heard in answers])


def _bounded(verdict: Verdict, case: Case) -> Verdict:
    """Keeps little of much, what fits in front, and nothing that PostgreSQL's text cannot hold."""
    values = verdict.found
    if len(values) > KEPT_VALUES:
        first = [value for value in values if is_meant(case, (value,))]
        values = (*first, *(value for value in values if value not in first))
    kept = [_kept(value) for value in values[:KEPT_VALUES]]
    if len(values) > KEPT_VALUES:
        kept.append(f"… and {len(values) - KEPT_VALUES} more")
    return Verdict(
        verdict.status,
        tuple(kept),
        str(verdict.diagnosis),
        _kept(verdict.explanation, KEPT_EXPLANATION),
        verdict.visible_in_s,
    )


def _kept(text: str, most: int = KEPT_CHARACTERS) -> str:
    cut = text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters)"
    return cut.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
