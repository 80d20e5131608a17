"""Policies and TLSA records for tests of encryption."""

import hashlib
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.delivery.dane import Tlsa
from relay.delivery.mta_sts import Mode, StsPolicy
from tests.pki import Signed


def sts_policy(mode: Mode, *mx: str, domain: str = "peer.test", age: timedelta = timedelta()) -> StsPolicy:
    """Fetched `age` ago, for a week."""
    fetched_at = datetime.now(UTC) - age
    return StsPolicy(domain, "1", mode, mx, fetched_at, fetched_at + timedelta(days=7))


def tlsa(usage: int, selector: int, matching: int, signed: Signed) -> Tlsa:
    if selector:
        key = signed.certificate.public_key()
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = signed.certificate.public_bytes(Encoding.DER)
    digest = {0: bytes, 1: lambda it: hashlib.sha256(it).digest(), 2: lambda it: hashlib.sha512(it).digest()}
    return Tlsa(usage, selector, matching, digest[matching](octets))
