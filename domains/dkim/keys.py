"""DKIM keys: made, encrypted at rest, loaded for signing."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from django.utils import timezone

from accounts.sealed_box import seal, unseal
from domains.models import DkimAlgorithm, DkimKey, DkimKeyState, SendingDomain

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

# RFC 8301, 3.2: signers use at least 2048 bits; longer keys do not fit every DNS form and cost more to verify.
KEY_BITS = 2048


def create_dkim_key(
    domain: SendingDomain,
    algorithm: DkimAlgorithm = DkimAlgorithm.RSA,
    state: DkimKeyState = DkimKeyState.WAITING,
) -> DkimKey:
    """Makes and stores a key under the domain's next free selector."""
    private_key = _generate(algorithm)
    return DkimKey.objects.create(
        domain=domain,
        selector=_next_selector(domain, algorithm),
        algorithm=algorithm,
        private_key=encrypt_private_key(private_key),
        public_key=public_part(private_key),
        state=state,
        activated_at=timezone.now() if state == DkimKeyState.ACTIVE else None,
    )


def private_key_of(dkim_key: DkimKey) -> PrivateKey:
    """The key ready to sign. Keep it: decryption and parsing cost little, but do not belong in each message's path."""
    return decrypt_private_key(dkim_key.private_key)


def encrypt_private_key(private_key: PrivateKey) -> bytes:
    """PKCS#8 DER (RFC 5958) under Fernet: the form that the database holds."""
    der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return seal(der)


def decrypt_private_key(stored: bytes | memoryview) -> PrivateKey:
    """The key from the column `private_key` as read by any client.

    Raises cryptography.fernet.InvalidToken when FIELD_ENCRYPTION_KEY is not the one that encrypted it.
    """
    der = unseal(stored)
    # OpenSSL's check of the primes takes 36 ms. It guards against hostile keys; this one we made ourselves, and Fernet
    # has just authenticated it.
    key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, PrivateKey)
    return key


def public_part(private_key: PrivateKey) -> str:
    """The p= tag: base64 of the SubjectPublicKeyInfo, which all verifiers of RSA read (RFC 6376, 3.6.1), or of an Ed25519
    key's 32 octets alone (RFC 8463, 4.2)."""
    if isinstance(private_key, Ed25519PrivateKey):
        octets = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        octets = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(octets).decode("ascii")


def _generate(algorithm: DkimAlgorithm) -> PrivateKey:
    if algorithm == DkimAlgorithm.ED25519:
        return Ed25519PrivateKey.generate()
    return make_rsa_key()


def make_rsa_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _next_selector(domain: SendingDomain, algorithm: DkimAlgorithm) -> str:
    """`ps3f9a-1`, `ps3f9a-2`, … of RSA keys, `ps3f9a-e1`, … of Ed25519 keys.

    The middle comes from the ownership token: so the records of an organization that takes the domain over stand beside the
    former one's, and neither has to be gone before the other is there.
    """
    stem = f"ps{domain.ownership_token[:4]}-{'e' if algorithm == DkimAlgorithm.ED25519 else ''}"
    taken = set(domain.dkim_keys.values_list("selector", flat=True))
    return next(name for number in range(1, len(taken) + 2) if (name := f"{stem}{number}") not in taken)
