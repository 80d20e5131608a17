"""Django settings. Everything that differs between installations comes from the environment; see `.env.example`."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from django.templatetags.static import static
from psycopg.conninfo import conninfo_to_dict

from plugsend import environment as env

BASE_DIR = env.BASE_DIR
VAR = env.VAR

# ---- Mode ------------------------------------------------------------------------------------------------------------

MODE = env.text("PLUGSEND_MODE", "sandbox")
if MODE not in {"sandbox", "live"}:
    raise SystemExit(f"PLUGSEND_MODE must be 'sandbox' or 'live', not {MODE!r}.")
SANDBOX = MODE == "sandbox"
DEBUG = env.flag("DEBUG")
if DEBUG and not SANDBOX:
    raise SystemExit("DEBUG shows settings and code to everyone who meets an error: it is for the sandbox only.")

SECRET_KEY = env.secret("SECRET_KEY")
API_KEY_PEPPER = env.secret("API_KEY_PEPPER")  # keys the hash under which API keys are stored
FIELD_ENCRYPTION_KEY = env.secret("FIELD_ENCRYPTION_KEY")  # Fernet key; encrypts DKIM private keys at rest
RETURN_PATH_KEY = env.secret("RETURN_PATH_KEY")  # authenticates return paths, so that forged bounces are told apart

# ---- Where we are ----------------------------------------------------------------------------------------------------

WEB_HOST = env.text("WEB_HOST", "127.0.0.1")  # where the web server listens
WEB_PORT = env.number("WEB_PORT", 8000)
WEB_URL = env.text("WEB_URL", f"http://localhost:{WEB_PORT}").rstrip("/")
HOSTNAME = env.text("PLUGSEND_HOSTNAME", "mail.plugsend.test" if SANDBOX else (urlsplit(WEB_URL).hostname or ""))
RETURN_PATH_TARGET = env.text("RETURN_PATH_TARGET", f"returns.{HOSTNAME.split('.', 1)[-1]}")
SYSTEM_DOMAIN = env.text("SYSTEM_DOMAIN", HOSTNAME.split(".", 1)[-1])  # the platform's own mail comes from here

ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]" if SANDBOX else (urlsplit(WEB_URL).hostname or "")
)
SECURE = urlsplit(WEB_URL).scheme == "https"
BEHIND_PROXY = env.flag("BEHIND_PROXY")  # what it says about its clients is believed
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
# Another host name of ours at which previews of customers' HTML are shown; empty: at WEB_URL's, without its privileges.
CONTENT_HOST = env.text("CONTENT_HOST").lower()
if CONTENT_HOST and urlsplit(WEB_URL).netloc.lower() == CONTENT_HOST:
    raise SystemExit("CONTENT_HOST must be another host name than WEB_URL's: cookies belong to a host.")
if CONTENT_HOST:
    ALLOWED_HOSTS.append(urlsplit(f"//{CONTENT_HOST}").hostname or "")
SITE_ID = 1

# ---- Browsers --------------------------------------------------------------------------------------------------------

# What browsers are told with each page is in `plugsend.browser_policy`.

# A name with this prefix is taken by browsers only over HTTPS, for one host and all of it (RFC 6265bis, 4.1.3).
_COOKIE_PREFIX = "__Host-" if SECURE else ""
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}plugsend_session"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}plugsend_csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
# Not Strict: links in our mails, DNS hosts and sign-in elsewhere lead back to pages for which one must be signed in.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
THEME_COOKIE_NAME = f"{_COOKIE_PREFIX}plugsend_theme"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # a cookie less
CSRF_TRUSTED_ORIGINS = [WEB_URL]  # a proxy may be in front that tells us nothing

# Redirecting needs to know how the client came, which only a proxy tells. The API refuses nothing by a redirect: its clients
# would send their key in the clear again each time and never notice. Probes come past the proxy.
SECURE_SSL_REDIRECT = SECURE and BEHIND_PROXY
SECURE_REDIRECT_EXEMPT = [r"^api(/|$)", r"^healthz$", r"^readyz$"]
HSTS_SECONDS = env.number("HSTS_SECONDS", 365 * 24 * 3600)
SECURE_HSTS_SECONDS = HSTS_SECONDS if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("HSTS_SUBDOMAINS")
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # HSTS for subdomains and preloading speak for hosts that may not be ours, and cannot be taken back: HSTS_SUBDOMAINS.
    "security.W005",
    "security.W021",
]

# ---- Apps ------------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "lucide",
    "accounts",
    "domains",
    "events",
    "relay",
    "relay.statistics",
    "relay.sandbox",
    "relay.webhooks",
    "plugsend.status",
    "plugsend",
]

MIDDLEWARE = [
    "accounts.rest.shell.api_shell",  # answers below /api/; what follows is for pages
    "plugsend.browser_policy.browser_policy",
    "plugsend.compression.CompressedPages",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "plugsend.status.middleware.status_stands_alone",  # what follows needs the database
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.kept_by_nobody",
    "accounts.middleware.away_by_page",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.middleware.session_seen",
    "accounts.middleware.current_organization",
    "accounts.impersonation.closed_while_looking",
    "accounts.middleware.behind_walls",  # innermost: sessions and messages are kept outside
]

ROOT_URLCONF = "plugsend.urls"
WSGI_APPLICATION = "plugsend.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "plugsend.context.platform",
                "accounts.context.reader",
            ],
            "builtins": ["lucide.templatetags.lucide", "django_htmx.templatetags.django_htmx"],
        },
    },
]

# ---- Engines ---------------------------------------------------------------------------------------------------------

DATABASE_URL = env.text("DATABASE_URL", "postgresql:///plugsend")
REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
# Without row-level security, the second wall between tenants (accounts.walls), members and programs are not served.
REQUIRE_ROW_SECURITY = env.flag("REQUIRE_ROW_SECURITY")


def django_database(url: str) -> dict[str, Any]:
    """Django's form of a libpq connection URI (PostgreSQL manual, 32.1.1.2), sockets and options included."""
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": parts,
    }


def celery_broker(url: str) -> str:
    """kombu spells a Unix socket `redis+socket://` and its database `virtual_host`; redis-py `unix://` and `db`."""
    return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")


DATABASES = {"default": django_database(DATABASE_URL)}
VALKEY_TIMEOUT_S = 1.0  # what hangs longer is away
CACHES = {
    "default": {
        "BACKEND": "plugsend.cache.Cache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": VALKEY_TIMEOUT_S, "socket_connect_timeout": VALKEY_TIMEOUT_S},
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"  # PostgreSQL is the only truth: a flushed cache logs nobody out

CELERY_BROKER_URL = celery_broker(REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # What a killed worker had taken comes back after this time. Our tasks take seconds and may be run twice: each works
    # off what the database says.
    "visibility_timeout": 300,
    "socket_connect_timeout": VALKEY_TIMEOUT_S,
    "socket_timeout": 5.0,  # longer than a worker's BRPOP waits; a sender does not wait for a broker that hangs
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_DB_REUSE_MAX = 10**9  # tasks; Celery would close connections after each (see plugsend/celery.py)
# No time limits: those of Celery need processes to kill, our tasks run in threads. What a task waits for has its own.
CELERY_WORKER_PREFETCH_MULTIPLIER = 8  # times four threads; most tasks only hand over to the engine
WORKER_MEMORY_MIB = env.number("WORKER_MEMORY_MIB", 1024)  # a worker that holds more ends, for another to be started
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # ours are short, and harmless when run twice
CELERY_TIMEZONE = "UTC"

# ---- People ----------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"accounts.password_rules.{rule}"}
    for rule in ("LongEnough", "NotLikeThePerson", "NotCommon", "NotOnlyDigits")
]
SESSION_COOKIE_AGE = env.number("SESSION_HOURS", 14 * 24) * 3600  # from signing in

LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "home"
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if BEHIND_PROXY else 0
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.forms.SignupForm"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True  # twice in a course
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if SECURE else "http"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300  # seconds
# Counted in the cache, so also without Valkey (`plugsend.cache`). ip: of an address; key: of an account's address.
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    "signup": "20/m/ip",
    "reset_password": "20/m/ip,5/m/key",
    "reset_password_from_key": "20/m/ip",
    "confirm_email": "1/10s/key",
    "change_password": "5/m/user",
    "manage_email": "10/m/user",
    "reauthenticate": "10/m/user",
}

MFA_ADAPTER = "accounts.second_factor.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_PASSKEY_SIGNUP_ENABLED = True
MFA_TOTP_ISSUER = "PlugSend"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s; RFC 6238, 5.2
MFA_FORMS = {
    "authenticate": "accounts.second_factor.AuthenticateForm",
    "reauthenticate": "accounts.second_factor.ReauthenticateForm",
    "add_webauthn": "accounts.second_factor.AddKeyForm",
}

# ---- Sign-in by others -----------------------------------------------------------------------------------------------
# A provider is there when its client is set: its app with its addresses, its button on the pages.

SOCIALACCOUNT_ADAPTER = "accounts.social.SocialAccountAdapter"
SOCIALACCOUNT_FORMS = {"signup": "accounts.social.SignupForm", "disconnect": "accounts.social.DisconnectForm"}
SOCIALACCOUNT_AUTO_SIGNUP = False  # an organization's name is asked for
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False  # a provider's word about an address opens no account that is there already
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, Any]] = {}


def add_provider(kind: str, client_id: str, secret: str, **app: Any) -> None:
    """`kind`: allauth's word. PKCE (RFC 7636) is always asked for."""
    INSTALLED_APPS.append(f"allauth.socialaccount.providers.{kind}")
    client = {"client_id": client_id, "secret": secret, **app}
    SOCIALACCOUNT_PROVIDERS[kind] = {"APPS": [client], "OAUTH_PKCE_ENABLED": True}


if GOOGLE_CLIENT_ID := env.text("GOOGLE_CLIENT_ID"):
    add_provider("google", GOOGLE_CLIENT_ID, env.text("GOOGLE_CLIENT_SECRET"), name="Google")
if GITHUB_CLIENT_ID := env.text("GITHUB_CLIENT_ID"):
    add_provider("github", GITHUB_CLIENT_ID, env.text("GITHUB_CLIENT_SECRET"), name="GitHub")
if OIDC_ISSUER := env.text("OIDC_ISSUER"):
    if not SANDBOX and urlsplit(OIDC_ISSUER).scheme != "https":
        raise SystemExit(f"OIDC_ISSUER must begin with https://, not {OIDC_ISSUER!r}.")
    add_provider(
        "openid_connect",
        env.text("OIDC_CLIENT_ID"),
        env.text("OIDC_CLIENT_SECRET"),
        name=env.text("OIDC_NAME", "single sign-on"),
        provider_id="sso",
        settings={"server_url": OIDC_ISSUER},
    )

# Of organizations without a plan, in whole days: how long contents are kept, and messages with their events.
CONTENT_DAYS = env.number("CONTENT_DAYS", 7)
EVENT_DAYS = env.number("EVENT_DAYS", 90)

# How long the deletion of an organization can be undone; then it is erased.
DELETION_GRACE_HOURS = float(env.text("DELETION_GRACE_HOURS", "0.25" if SANDBOX else "336"))

EMAIL_BACKEND = "relay.submission.email_backend.PlugSendBackend"
DEFAULT_FROM_EMAIL = f"PlugSend <no-reply@{SYSTEM_DOMAIN}>"


def networks(name: str, words: list[str]) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(word) for word in words]
    except ValueError as error:
        raise SystemExit(f"{name}: {error}. Give networks such as 10.1.0.0/16, with commas between them.") from None


# ---- The mail path ---------------------------------------------------------------------------------------------------

SMTP_HOST = env.text("SMTP_HOST", "127.0.0.1")
SMTP_PORT = env.number("SMTP_PORT", 2587)
SMTP_ALT_PORT = env.number("SMTP_ALT_PORT", 2525)  # the same as SMTP_PORT
SMTPS_PORT = env.number("SMTPS_PORT", 2465)  # TLS from the first octet, RFC 8314
SMTP_PUBLIC_HOST = env.text("SMTP_PUBLIC_HOST", "localhost" if SANDBOX else HOSTNAME)  # what customers type in
SMTP_TLS_CERT = env.text("SMTP_TLS_CERT")
SMTP_TLS_KEY = env.text("SMTP_TLS_KEY")
MESSAGE_SIZE_LIMIT = env.number("MESSAGE_SIZE_LIMIT", 25 * 1024 * 1024)  # octets, RFC 1870
RECIPIENTS_LIMIT = env.number("RECIPIENTS_LIMIT", 1000)  # per message

MESSAGE_HEADERS_LIMIT = env.number("MESSAGE_HEADERS_LIMIT", 1000)  # fields
MESSAGE_HEADER_OCTETS = env.number("MESSAGE_HEADER_OCTETS", 256 * 1024)
MIME_DEPTH_LIMIT = env.number("MIME_DEPTH_LIMIT", 30)
MIME_PARTS_LIMIT = env.number("MIME_PARTS_LIMIT", 1000)

# One SMTP process: connections are counted, and memory is shared out, in each.
SMTP_COMMAND_OCTETS = env.number("SMTP_COMMAND_OCTETS", 1065)  # RFC 5321, 4.5.3.1.4, and what the extensions add
SMTP_AUTH_OCTETS = env.number("SMTP_AUTH_OCTETS", 12_288)  # RFC 4954, 4
SMTP_MESSAGES_PER_CONNECTION = env.number("SMTP_MESSAGES_PER_CONNECTION", 1000)
SMTP_CONNECTIONS_PER_ADDRESS = env.number("SMTP_CONNECTIONS_PER_ADDRESS", 100)
SMTP_CONNECTIONS_PER_USER = env.number("SMTP_CONNECTIONS_PER_USER", 50)
SMTP_BAD_COMMANDS = env.number("SMTP_BAD_COMMANDS", 10)
SMTP_IDLE_SECONDS = env.number("SMTP_IDLE_SECONDS", 300)  # RFC 5321, 4.5.3.2.7
SMTP_LOGIN_SECONDS = env.number("SMTP_LOGIN_SECONDS", 300)
SMTP_TRANSFER_SECONDS = env.number("SMTP_TRANSFER_SECONDS", 900)
SMTP_MEMORY_OCTETS = env.number("SMTP_MEMORY_OCTETS", 64 * 1024 * 1024)  # contents being stored at the same time
SMTP_DRAIN_SECONDS = env.number("SMTP_DRAIN_SECONDS", 25)
SMTP_LOGIN_FAILURES_PER_USER = env.number("SMTP_LOGIN_FAILURES_PER_USER", 10)
SMTP_LOGIN_FAILURES_PER_ADDRESS = env.number("SMTP_LOGIN_FAILURES_PER_ADDRESS", 20)
SMTP_LOGIN_PAUSE_SECONDS = env.number("SMTP_LOGIN_PAUSE_SECONDS", 900)

# What comes back by mail. One process, whose limits these are.
RETURNS_HOST = env.text("RETURNS_HOST", SMTP_HOST)
RETURNS_PORT = env.number("RETURNS_PORT", 2526)
FEEDBACK_ADDRESSES = env.words(
    "FEEDBACK_ADDRESSES", f"fbl@{RETURN_PATH_TARGET}"
)  # complaints of feedback loops come here
RETURNS_CONNECTIONS = env.number("RETURNS_CONNECTIONS", 200)
RETURNS_CONNECTIONS_PER_ADDRESS = env.number("RETURNS_CONNECTIONS_PER_ADDRESS", 20)
RETURNS_IDLE_SECONDS = env.number("RETURNS_IDLE_SECONDS", 300)  # RFC 5321, 4.5.3.2.7
RETURNS_SIZE_LIMIT = env.number(
    "RETURNS_SIZE_LIMIT", 2 * MESSAGE_SIZE_LIMIT
)  # many bounces hold the whole mail, encoded anew

RELAY_SMARTHOST = env.text("RELAY_SMARTHOST")  # host:port that takes all mail instead of the recipients' exchangers
SANDBOX_DNS_PORT = env.number("SANDBOX_DNS_PORT", 5353)
SANDBOX_MX_PORT = env.number("SANDBOX_MX_PORT", 2525)
DNS_NAMESERVERS = env.words("DNS_NAMESERVERS")  # addresses, `host:port` allowed; empty: the machine's own resolver
if SANDBOX:
    DNS_NAMESERVERS = [f"127.0.0.1:{SANDBOX_DNS_PORT}"]
# The public resolvers that checks of domains ask, which see what receivers see; empty: DNS_NAMESERVERS. In the sandbox its own.
DOMAIN_CHECK_RESOLVERS = [] if SANDBOX else env.words("DOMAIN_CHECK_RESOLVERS")
DNS_AUTHORITY_PORT = SANDBOX_DNS_PORT if SANDBOX else 53  # where the name servers of zones are asked
# The name servers are local and validate: their AD bit can be trusted (RFC 4033, 4.9.3), which DANE wants.
DNS_VALIDATES = env.flag("DNS_VALIDATES")
# Networks that mail, requests and questions to name servers go to although they are not public.
ALLOWED_NETWORKS = networks("ALLOWED_NETWORKS", env.words("ALLOWED_NETWORKS"))
TLS_CA_FILE = env.text("TLS_CA_FILE")  # PEM; in place of the system's certificate authorities
EXCHANGER_PORT = SANDBOX_MX_PORT if SANDBOX else 25
DELIVERY_CONNECTIONS = env.number("DELIVERY_CONNECTIONS", 1000)  # to all exchangers together, in each worker process
CONNECTIONS_PER_EXCHANGER = env.number(
    "CONNECTIONS_PER_EXCHANGER", 100
)  # at most; few at first, more while it answers well
WORKER_DRAIN_SECONDS = env.number("WORKER_DRAIN_SECONDS", 25)
LEASE_SECONDS = env.number("LEASE_SECONDS", 60)
RETRY_SCALE = float(env.text("RETRY_SCALE", "0.1" if SANDBOX else "1"))  # shortens every retry delay, for trials

# Shortens how long a domain that lost its DNS records is waited for, for trials: warned after 10 min, stopped after 72 h.
DOMAIN_LOSS_SCALE = float(env.text("DOMAIN_LOSS_SCALE", "0.01" if SANDBOX else "1"))

# ---- REST ------------------------------------------------------------------------------------------------------------

API_BODY_LIMIT = env.number("API_BODY_LIMIT", MESSAGE_SIZE_LIMIT * 4 // 3 + 1024 * 1024)  # octets; base64 adds a third
# Requests per second; the burst is what may come at once after a pause. 0: any number.
API_KEY_RATE = env.number("API_KEY_RATE", 100)
API_ORGANIZATION_RATE = env.number("API_ORGANIZATION_RATE", 200)
API_ADDRESS_RATE = env.number("API_ADDRESS_RATE", 10)  # of an address whose requests show no valid key
API_BURST_SECONDS = env.number("API_BURST_SECONDS", 5)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["relay.rest.auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.rest.access.BehindWalls"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts.rest.bodies.JsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "accounts.rest.negotiation.JsonOnly",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is a method that is not there, as others are
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "accounts.rest.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "PlugSend API",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "accounts.rest.openapi.complete",
    ],
    "ENUM_NAME_OVERRIDES": {
        "DomainStatusEnum": "domains.rest.serializers.DOMAIN_WORDS",
        "RecordStatusEnum": "domains.rest.serializers.RECORD_WORDS",
        "RecipientStateEnum": "relay.models.RecipientState",
        "WebhookStatusEnum": "relay.webhooks.serializers.STATUSES",
        "WebhookDeliveryStatusEnum": "relay.webhooks.serializers.DELIVERY_STATUSES",
        "WebhookStateEnum": "relay.webhooks.models.EndpointState",
        "WebhookDeliveryStateEnum": "relay.webhooks.models.DeliveryState",
        "WebhookCauseEnum": "relay.webhooks.models.Cause",
        "WebhookEventEnum": "relay.webhooks.serializers.EVENT_NAMES",
        "EventTypeEnum": "events.models.EventType",
        "TemplateStatusEnum": "relay.rest.template_serializers.STATUSES",
        "VariableTypeEnum": "relay.templating.variables.TYPES",
    },
}

# ---- Status ----------------------------------------------------------------------------------------------------------

STATUS_CHECK_SECONDS = env.number("STATUS_CHECK_SECONDS", 20)  # between looks at the components
STATUS_FAILURES = env.number(
    "STATUS_FAILURES", 2
)  # looks in a row that must fail before a component is told to be in trouble
# Where the doors are probed, `host:port` and a URL; empty: where this machine's own listen.
STATUS_SMTP = env.text("STATUS_SMTP")
STATUS_RETURNS = env.text("STATUS_RETURNS")
STATUS_WEB = env.text("STATUS_WEB").rstrip("/")

# ---- Admin -----------------------------------------------------------------------------------------------------------

UNFOLD = {
    "SITE_TITLE": "PlugSend admin",
    "SITE_HEADER": "PlugSend",
    "SITE_SUBHEADER": "Operators",
    "SITE_URL": "/overview/",
    "SITE_SYMBOL": "outgoing_mail",
    "DASHBOARD_CALLBACK": "plugsend.status.dashboard.on_index",
    "ENVIRONMENT": "plugsend.context.mode_for_admin",
    "STYLES": [lambda request: static("operators.css")],
    "SCRIPTS": [lambda request: static("operators.js")],
    "SIDEBAR": {
        "show_search": False,  # of the names that stand there anyway; the admin loads htmx on the dashboard only
        "show_all_applications": False,
        "navigation": "plugsend.admin_navigation.navigation",
    },
    "COLORS": {
        "primary": {
            "50": "#eff5ff",
            "100": "#dbe7fe",
            "200": "#bfd5fe",
            "300": "#93b8fd",
            "400": "#6094fa",
            "500": "#3b74f0",
            "600": "#1d5fd1",
            "700": "#1a4fb0",
            "800": "#1b438e",
            "900": "#1b3b72",
            "950": "#142547",
        }
    },
}

# ---- Static files, language, logs ------------------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "static", ("css", VAR / "css")]  # var/css is built by `manage.py prepare`
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "plugsend.static_files.Storage"},
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = ["plugsend.formats"]  # how times are told where a page does not say it itself, as in the admin

LOG_LEVEL = env.text("LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)-7s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "celery": {"level": "WARNING"},
        "kombu": {"level": "WARNING"},
        "uvicorn": {"level": "ERROR"},  # which warns of each request that is not HTTP
        "mail.log": {"level": "ERROR"},  # aiosmtpd, which logs every line it reads (the sandbox's exchanger)
    },
}
