"""Django's cache in Valkey, and in this process alone while Valkey is full, hangs or is gone.

What allauth counts in it (sign-ins, sign-ups, codes) must neither stop with Valkey nor go uncounted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

KEPT_MOST = 20_000
PAUSE_S = 5.0  # so long Valkey is not asked again: each time-out would be somebody's wait


class Cache(RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._own = LocMemCache("while-valkey-is-away", {"max_entries": KEPT_MOST})

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().add, self._own.add, args, kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().get, self._own.get, args, kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().set, self._own.set, args, kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().touch, self._own.touch, args, kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().delete, self._own.delete, args, kwargs)

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().get_many, self._own.get_many, args, kwargs)

    def has_key(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().has_key, self._own.has_key, args, kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().incr, self._own.incr, args, kwargs)

    def set_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().set_many, self._own.set_many, args, kwargs)

    def delete_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().delete_many, self._own.delete_many, args, kwargs)

    def clear(self, *args: Any, **kwargs: Any) -> Any:
        return self._either(super().clear, self._own.clear, args, kwargs)

    def _either(self, there: Callable[..., Any], here: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if time.monotonic() >= _pause.ends_at:
            try:
                return there(*args, **kwargs)
            except (RedisError, OSError) as error:
                _pause.ends_at = time.monotonic() + PAUSE_S
                logger.warning("The cache in Valkey fails, this process keeps its own for %g s: %s", PAUSE_S, error)
        return here(*args, **kwargs)


class _Pause:
    """Of the whole process: Django makes a `Cache` for each thread."""

    ends_at = 0.0


_pause = _Pause()
