"""The certificate of the SMTP door, read again when its files change. Sessions that are open keep theirs."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Certificate:
    """A certificate chain and its key, in PEM. Raises OSError or ssl.SSLError when the first ones cannot be used."""

    def __init__(self, certificate: str, key: str) -> None:
        self._files = (certificate, key)
        self._seen = self._state()
        self._looked_at = time.monotonic()
        self._newest = tls_context(*self._files)
        # A listener keeps the context that it was given; each handshake changes over to the newest one.
        self.for_listener = tls_context(*self._files)
        self.for_listener.sni_callback = self._change_over

    def newest(self) -> ssl.SSLContext:
        """For the next handshake."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return self._newest

    def _look(self) -> None:
        try:
            state = self._state()
            if state == self._seen:
                return
            self._newest = tls_context(*self._files)
        except (OSError, ssl.SSLError) as error:
            # Perhaps one file of the two is written and the other not yet: keep the old pair and look again.
            logger.error(
                "The new certificate in %s cannot be used: %s. The old one stays in use.", self._files[0], error
            )
            return
        self._seen = state
        logger.info("The certificate in %s has changed and is used from now on", self._files[0])

    def _state(self) -> list[tuple[int, int, int]]:
        found = [Path(file).stat() for file in self._files]
        return [(status.st_mtime_ns, status.st_ino, status.st_size) for status in found]

    def _change_over(self, tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        tls.context = self.newest()


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 and up (RFC 8996 took away the older ones)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
