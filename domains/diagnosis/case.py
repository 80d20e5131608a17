"""What is to be judged, and what a judgement of values comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domains.diagnosis.hosts import UNKNOWN, DnsHost, typed_name
from domains.diagnosis.table import Diagnosis
from domains.names import registrable_part
from domains.records import (
    DMARC_LABEL,
    DOMAINKEY_LABEL,
    OWNERSHIP_LABEL,
    RETURN_PATH_LABEL,
    AskedRecord,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A record with what is known around it: the zone's apex (empty: unknown) and DNS host, and the domain's other records."""

    record: AskedRecord
    apex: str = ""
    host: DnsHost = UNKNOWN
    siblings: Sequence[AskedRecord] = ()

    @property
    def zone(self) -> str:
        return self.apex or registrable_part(self.domain)

    @property
    def domain(self) -> str:
        """The sending domain, which is the record's name without the labels that we put before it."""
        name = self.record.name
        for label in (OWNERSHIP_LABEL, RETURN_PATH_LABEL, DMARC_LABEL):
            if name.startswith(label + "."):
                return name.removeprefix(label + ".")
        return name.partition(f".{DOMAINKEY_LABEL}.")[2] or name

    @property
    def typed(self) -> str:
        """The record's name as the DNS host's form wants it, in quotation marks."""
        return f"“{typed_name(self.record.name, self.zone, self.host)}”"

    @property
    def at(self) -> str:
        return self.host.at


@dataclass(frozen=True, slots=True)
class Reading:
    """What the values come to. `diagnosis` and `explanation` are empty when all is well; they may stand beside `fits`."""

    fits: bool
    diagnosis: Diagnosis | None = None
    explanation: str = ""


FITS = Reading(True)


def fault(diagnosis: Diagnosis, explanation: str) -> Reading:
    return Reading(False, diagnosis, explanation)
