"""DKIM keys: made, encrypted at rest, loaded for signing."""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from django.conf import settings

from domains.models import DkimKey, SendingDomain

# RFC 8301, 3.2: signers use at least 2048 bits; longer keys do not fit every DNS form and cost more to verify.
KEY_BITS = 2048


def create_dkim_key(domain: SendingDomain) -> DkimKey:
    """Makes and stores an RSA key under the domain's next free selector: `ps1`, `ps2`, …"""
    private_key = generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return DkimKey.objects.create(
        domain=domain,
        selector=_next_selector(domain),
        private_key=encrypt_private_key(private_key),
        public_key=_public_part(private_key),
    )


def private_key_of(dkim_key: DkimKey) -> RSAPrivateKey:
    """The key ready to sign. Keep it: decryption and parsing cost little, but do not belong in each message's path."""
    return decrypt_private_key(dkim_key.private_key)


def encrypt_private_key(private_key: RSAPrivateKey) -> bytes:
    """PKCS#8 DER (RFC 5958) under Fernet: the form that the database holds."""
    der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return _cipher(settings.FIELD_ENCRYPTION_KEY).encrypt(der)


def decrypt_private_key(stored: bytes | memoryview) -> RSAPrivateKey:
    """The key from the column `private_key` as read by any client.

    Raises cryptography.fernet.InvalidToken when FIELD_ENCRYPTION_KEY is not the one that encrypted it.
    """
    der = _cipher(settings.FIELD_ENCRYPTION_KEY).decrypt(bytes(stored))
    # OpenSSL's check of the primes takes 36 ms. It guards against hostile keys; this one we made ourselves, and Fernet
    # has just authenticated it.
    key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return key


def _next_selector(domain: SendingDomain) -> str:
    taken = set(domain.dkim_keys.values_list("selector", flat=True))
    return next(name for number in range(1, len(taken) + 2) if (name := f"ps{number}") not in taken)


def _public_part(private_key: RSAPrivateKey) -> str:
    """RFC 6376, 3.6.1: the p= tag is the base64 of the DER; all verifiers read the SubjectPublicKeyInfo form."""
    der = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode("ascii")


@lru_cache(maxsize=4)
def _cipher(keys: str) -> MultiFernet:
    """Several comma-separated keys: the first encrypts, all decrypt, so that a key can be replaced at leisure."""
    return MultiFernet([Fernet(key.strip()) for key in keys.split(",")])
