"""What an exchanger's certificate is worth: judged for every TLS connection, by the web's rules (RFC 5280, RFC 6125).

The handshake itself accepts any certificate (RFC 7435), so that the verdict can be shown where no policy asks for it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import re
import ssl
import time
import warnings
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from django.conf import settings

logger = logging.getLogger(__name__)

KEPT_S = 3600
MOST_KEPT = 10_000

Chain = tuple[bytes, ...]  # certificates in DER as the server sent them, its own first

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)


# What `cryptography` raises for other people's certificates.
MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Verdict(StrEnum):
    VERIFIED = "verified"
    SELF_SIGNED = "self_signed"
    UNTRUSTED = "untrusted"  # no authority that we know stands behind it
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NAME_MISMATCH = "name_mismatch"  # good, but another host's
    UNREADABLE = "unreadable"
    DANE_VERIFIED = "dane_verified"
    DANE_MISMATCH = "dane_mismatch"


IN_WORDS = {
    Verdict.VERIFIED: "certificate verified",
    Verdict.SELF_SIGNED: "self-signed certificate",
    Verdict.UNTRUSTED: "certificate of an unknown authority",
    Verdict.EXPIRED: "certificate expired",
    Verdict.NOT_YET_VALID: "certificate not valid yet",
    Verdict.NAME_MISMATCH: "certificate for another name",
    Verdict.UNREADABLE: "certificate unreadable",
    Verdict.DANE_VERIFIED: "certificate verified by DANE",
    Verdict.DANE_MISMATCH: "certificate is not the one that DANE names",
}


class Judge:
    """Knows the authorities, and what it found in the last hour."""

    def __init__(self, authorities: Sequence[x509.Certificate]) -> None:
        self._authorities = frozenset(authorities)
        self._store = Store(list(authorities)) if authorities else None
        self._found: dict[tuple[str, bytes], tuple[float, Verdict]] = {}

    def judge(self, chain: Chain, host: str) -> Verdict:
        """`host`: a DNS name, or an IP address."""
        key = (host, _digest(chain))
        at, verdict = self._found.get(key, (0.0, Verdict.UNREADABLE))
        if not at or time.monotonic() - at > KEPT_S:
            verdict = self._judge(chain, host, datetime.now(UTC))
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            self._found[key] = (time.monotonic(), verdict)
        return verdict

    def _judge(self, chain: Chain, host: str, now: datetime) -> Verdict:
        try:
            return self._examine(parse(chain), host, now)
        except MALFORMED:  # parts are parsed when asked for
            return Verdict.UNREADABLE

    def _examine(self, certificates: list[x509.Certificate], host: str, now: datetime) -> Verdict:
        own, *above = certificates
        names = _names(own)
        if now > own.not_valid_after_utc:
            return Verdict.EXPIRED
        if now < own.not_valid_before_utc:
            return Verdict.NOT_YET_VALID
        if own.issuer == own.subject and own not in self._authorities:
            return Verdict.SELF_SIGNED  # the most frequent case, and the search for a path is the dear part
        if self._store and verifies(own, above, self._store, host, now):
            return Verdict.VERIFIED
        if self._store and names and verifies(own, above, self._store, names[0].replace("*", "any", 1), now):
            return Verdict.NAME_MISMATCH
        return Verdict.UNTRUSTED


def judge(chain: Chain, host: str) -> Verdict:
    """By the authorities of the settings."""
    return _judge_with(settings.TLS_CA_FILE).judge(chain, host)


def parse(chain: Iterable[bytes]) -> list[x509.Certificate]:
    """Raises one of `MALFORMED` when one cannot be read, or when there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities of other people's certificates
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
    if not certificates:
        raise ValueError("The server sent no certificate.")
    return certificates


def verifies(
    own: x509.Certificate,
    above: list[x509.Certificate],
    store: Store,
    host: str,
    now: datetime,
    builder: PolicyBuilder | None = None,
) -> bool:
    """Whether a path leads from the store to a certificate for this host."""
    try:
        verifier = (builder or PolicyBuilder()).store(store).time(now).build_server_verifier(_subject(host))
        verifier.verify(own, above)
    except (VerificationError, *MALFORMED):
        return False
    return True


def peer_chain(connection: ssl.SSLObject) -> Chain:
    """What the other side sent, unverified."""
    if hasattr(connection, "get_unverified_chain"):  # Python 3.13
        return tuple(connection.get_unverified_chain())
    from _ssl import ENCODING_DER

    return tuple(one.public_bytes(ENCODING_DER) for one in connection._sslobj.get_unverified_chain() or ())  # type: ignore[attr-defined]


def _digest(chain: Chain) -> bytes:
    digest = hashlib.sha256()
    for der in chain:
        digest.update(len(der).to_bytes(4) + der)
    return digest.digest()


def _subject(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return found.get_values_for_type(x509.DNSName)


@lru_cache(maxsize=4)
def _judge_with(ca_file: str) -> Judge:
    return Judge(_load_authorities(ca_file))


def _load_authorities(ca_file: str) -> list[x509.Certificate]:
    """Of the file, else the system's."""
    paths = ssl.get_default_verify_paths()
    files = [Path(ca_file or paths.cafile or "")]
    if not files[0].is_file() and paths.capath and not ca_file:
        files = sorted(path for path in Path(paths.capath).iterdir() if path.is_file())
    blocks: dict[bytes, None] = {}
    for file in files:
        try:
            blocks.update(dict.fromkeys(_PEM.findall(file.read_bytes())))
        except OSError as error:
            logger.error("Certificate authorities cannot be read: %s", error)
    authorities = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in blocks:
            try:
                authorities.append(x509.load_pem_x509_certificate(block))
            except ValueError as error:
                logger.warning("A certificate authority is left out: %s", error)
    if not authorities:
        logger.error("There are no certificate authorities: no exchanger can be verified. Set TLS_CA_FILE.")
    return authorities
