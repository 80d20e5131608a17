"""Where the database is, for the parts of the mail path that speak to it through psycopg itself."""

from django.db import connection
from psycopg.conninfo import make_conninfo

ENGINE_NAME = "plugsend engine"  # how an engine's connections are called in pg_stat_activity; its id follows


def database_url() -> str:
    """The URI of the database that Django uses now (under pytest the test database, not settings.DATABASE_URL's)."""
    parameters = connection.get_connection_params()
    for key in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(key, None)
    return make_conninfo(**{k: v for k, v in parameters.items() if v not in (None, "")})
