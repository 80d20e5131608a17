"""What must not be readable in the database, encrypted at rest: DKIM private keys, answers that hold a secret."""

from functools import lru_cache

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def seal(octets: bytes) -> bytes:
    return _cipher(settings.FIELD_ENCRYPTION_KEY).encrypt(octets)


def unseal(stored: bytes | memoryview) -> bytes:
    """What `seal` took, from a column as read by any client.

    Raises cryptography.fernet.InvalidToken when FIELD_ENCRYPTION_KEY is not the one that encrypted it.
    """
    return _cipher(settings.FIELD_ENCRYPTION_KEY).decrypt(bytes(stored))


@lru_cache(maxsize=4)
def _cipher(keys: str) -> MultiFernet:
    """Several comma-separated keys: the first encrypts, all decrypt, so that a key can be replaced at leisure."""
    return MultiFernet([Fernet(key.strip()) for key in keys.split(",")])
