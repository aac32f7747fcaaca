"""Django's settings, from the environment alone (docs/configuration.md lists every variable).

An odd value stops the start with words. There is no default secret: ``secguard up`` makes one and hands it to its
processes; every other server needs SECGUARD_SECRET_KEY (``wsgi`` and ``celery`` refuse to start without it).
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from secguard import environment
from secguard.accounts.providers import BadProviders
from secguard.accounts.providers import read as read_providers
from secguard.accounts.roles import Role
from secguard.logs import configuration as logging_configuration

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    DATA_DIR = Path(environment.text(os.environ, "SECGUARD_DATA_DIR", str(BASE_DIR / "var"))).expanduser().resolve()
    PORT = environment.integer(os.environ, "PORT", 8000, least=1, most=65535)
    PUBLIC_URL = environment.web_url(os.environ, "SECGUARD_PUBLIC_URL", f"http://localhost:{PORT}")
    DATABASE = environment.database(os.environ, "SECGUARD_DATABASE_URL", f"sqlite:///{DATA_DIR / 'secguard.sqlite3'}")
    BROKER_URL = environment.broker(os.environ, "SECGUARD_BROKER_URL")
    SECRET_KEY = environment.secret_key(os.environ)
    SECRET_KEY_FALLBACKS = environment.items(os.environ, "SECGUARD_OLD_SECRET_KEYS", [])
    ALLOWED_HOSTS = environment.items(os.environ, "SECGUARD_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
    CSRF_TRUSTED_ORIGINS = environment.items(os.environ, "SECGUARD_CSRF_TRUSTED_ORIGINS", [])
    MAX_REPORT_BYTES = environment.integer(
        os.environ, "SECGUARD_MAX_REPORT_BYTES", 64 * 2**20, least=2**10, most=2 * 2**30
    )
    MAX_REVIEW_BYTES = environment.integer(
        os.environ, "SECGUARD_MAX_REVIEW_BYTES", 8 * 2**20, least=2**16, most=64 * 2**20
    )
    MAX_FEED_BYTES = environment.integer(os.environ, "SECGUARD_MAX_FEED_BYTES", 2 * 2**30, least=2**10, most=2**40)
    MAX_FEED_UNPACKED_BYTES = environment.integer(
        os.environ, "SECGUARD_MAX_FEED_UNPACKED_BYTES", 32 * 2**30, least=2**10, most=2**42
    )
    MAX_ARCHIVE_BYTES = environment.integer(
        os.environ, "SECGUARD_MAX_ARCHIVE_BYTES", 4 * 2**30, least=2**10, most=2**40
    )
    MAX_IMAGE_BYTES = environment.integer(os.environ, "SECGUARD_MAX_IMAGE_BYTES", 16 * 2**30, least=2**20, most=2**40)
    LAYER_CACHE_BYTES = environment.integer(
        os.environ, "SECGUARD_LAYER_CACHE_BYTES", 20 * 2**30, least=2**26, most=2**50
    )
    YARA_RULES = environment.text(os.environ, "SECGUARD_YARA_RULES", "")
    CLAMD = environment.text(os.environ, "SECGUARD_CLAMD", "")
    SMTP = environment.mail_server(os.environ, "SECGUARD_SMTP_URL")
    MAIL_FROM = environment.mail_sender(os.environ, "SECGUARD_MAIL_FROM", SMTP)
    WEBHOOK_HOSTS = environment.hosts(os.environ, "SECGUARD_WEBHOOK_HOSTS")
    MAX_EVENT_ROWS = environment.integer(
        os.environ, "SECGUARD_MAX_EVENT_ROWS", 2_000_000, least=10_000, most=100_000_000
    )
    NETWORK_DAYS = environment.integer(os.environ, "SECGUARD_NETWORK_DAYS", 90, least=7, most=3650)
    FORECAST_DAYS = environment.days(os.environ, "SECGUARD_FORECAST_DAYS", [7, 1], most=14)
    LOG_LEVEL = environment.choice(os.environ, "SECGUARD_LOG_LEVEL", "info", environment.LOG_LEVELS)
    LOG_FORMAT = environment.choice(os.environ, "SECGUARD_LOG_FORMAT", "text", ("text", "json"))
    PKCS11_MODULE = environment.text(os.environ, "SECGUARD_PKCS11_MODULE", "")
    PKCS11_TOKEN = environment.text(os.environ, "SECGUARD_PKCS11_TOKEN", "")
    PKCS11_PIN = environment.text(os.environ, "SECGUARD_PKCS11_PIN", "")
    SNAPSHOT_KEY = environment.text(os.environ, "SECGUARD_SNAPSHOT_KEY", "")
    REQUIRE_MFA = environment.some_of(os.environ, "SECGUARD_REQUIRE_MFA", [role.value for role in Role])
    METRICS_TOKEN = environment.text(os.environ, "SECGUARD_METRICS_TOKEN", "")
    BEHIND_PROXY = environment.flag(os.environ, "SECGUARD_BEHIND_PROXY", default=False)
    DEBUG = environment.flag(os.environ, "SECGUARD_DEBUG", default=False)
    SIGN_IN_FILE = environment.text(os.environ, "SECGUARD_SIGN_IN_FILE", "")
    SIGN_IN_PROVIDERS = read_providers(Path(SIGN_IN_FILE).read_text("utf-8")) if SIGN_IN_FILE else ()
except (OSError, UnicodeDecodeError, BadProviders) as error:
    raise ImproperlyConfigured(f"SECGUARD_SIGN_IN_FILE {SIGN_IN_FILE} cannot be taken: {error}.") from error
except environment.BadEnvironment as error:
    raise ImproperlyConfigured(str(error)) from error

SECURE = PUBLIC_URL.startswith("https://")
PUBLIC_HOST = urlsplit(PUBLIC_URL).hostname or "localhost"
if PUBLIC_HOST not in ALLOWED_HOSTS and "*" not in ALLOWED_HOSTS:
    ALLOWED_HOSTS.append(PUBLIC_HOST)

# --- applications, from the lowest layer up (DESIGN section 4) ---
APPLICATIONS = (
    "web",
    "jobs",
    "audit",
    "notifications",
    "accounts",
    "approvals",
    "channels",
    "images",
    "advisories",
    "findings",
    "workloads",
    "planning",
    "events",
    "exports",
    "scans",
    "decisions",
    "signing",
    "policies",
    "promotion",
    "admission",
    "runtime",
    "network",
    "forecast",
    "trackers",
    "incidents",
    "dashboards",
    "compliance",
    "history",
    "laboratory",
    "sample",
)
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_filters",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    *(f"secguard.{name}" for name in APPLICATIONS if (BASE_DIR / "secguard" / name / "apps.py").exists()),
]
MIDDLEWARE = [
    "secguard.web.middleware.RequestId",
    "secguard.web.middleware.SecurityHeaders",
    "secguard.web.middleware.BodyBound",
    "secguard.web.middleware.Webhooks",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "secguard.web.middleware.Slashes",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "secguard.accounts.middleware.BrowserSessions",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "secguard.web.signedout.SignedOut",
    "secguard.web.openapi.KnownParameters",
    "secguard.web.problems.Problems",
]
ROOT_URLCONF = "secguard.urls"
WSGI_APPLICATION = "secguard.wsgi.application"
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
            ],
        },
    }
]

# --- database ---
SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": DATABASE.path,
    "OPTIONS": {
        # A writer waits for another instead of failing; IMMEDIATE takes the lock at BEGIN, where waiting works, and not
        # at the first write, where SQLite answers "database is locked" at once (sqlite.org/lang_transaction.html, 2.2).
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        # WAL with synchronous=NORMAL loses nothing when a process is killed (sqlite.org/wal.html, section 3).
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
            "PRAGMA cache_size=-32768; PRAGMA mmap_size=134217728; PRAGMA journal_size_limit=67108864;"
        ),
    },
}
POSTGRESQL: dict[str, Any] = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": DATABASE.name,
    "USER": DATABASE.user,
    "PASSWORD": DATABASE.password,
    "HOST": DATABASE.host,
    "PORT": DATABASE.port,
    "CONN_MAX_AGE": 600,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {"application_name": "secguard", **DATABASE.options},
}
DATABASES = {"default": SQLITE if DATABASE.engine == "sqlite" else POSTGRESQL}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- people ---
AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "display_name", "email")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
if SECURE:
    # Only over https does a browser take the __Host- prefix, and then no sibling host can plant the cookie.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-secguard-session", "__Host-secguard-csrf"
    SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds())
else:
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "secguard-session", "secguard-csrf"
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "secguard.web.problems.csrf_failure"

# --- requests ---
# A report's body is bounded by MAX_REPORT_BYTES where it is read; a form's by this.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000
FILE_UPLOAD_TEMP_DIR = None

# --- language and time ---
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

# --- files ---
STATIC_URL = "/static/"
STATIC_ROOT = Path(environment.text(os.environ, "SECGUARD_STATIC_DIR", str(DATA_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"] if (BASE_DIR / "static").is_dir() else []
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": DATA_DIR / "files"}},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 0 if DEBUG else 3600

# --- API ---
FILTERS_EMPTY_CHOICE_LABEL = "Any"
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "secguard.accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["secguard.web.parsers.BoundedJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["secguard.web.filters.Filters"],
    "DEFAULT_PAGINATION_CLASS": "secguard.web.pagination.CursorPages",
    "PAGE_SIZE": 50,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "secguard.web.problems.handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "SecGuard",
    "DESCRIPTION": "Container security governance: may this image go on, and who said so?",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    # One name for one set of choices; without a name a checksum is made of it, which changes with the choices.
    "ENUM_NAME_OVERRIDES": {
        "ControlKind": "secguard.decisions.models.CONTROL_KIND_CHOICES",
        "ControlState": "secguard.decisions.models.CONTROL_STATE_CHOICES",
        "ControlStatus": "secguard.decisions.models.CONTROL_STATUS_CHOICES",
        "BaselineItemKind": "secguard.runtime.models.ITEM_KIND_CHOICES",
        "AccessTokenType": ["urn:ietf:params:oauth:token-type:access_token"],
        "CiIdentityKind": "secguard.accounts.models.CI_KIND_CHOICES",
        "CiIdentityRole": "secguard.accounts.models.CI_ROLE_CHOICES",
        "RoleEnum": "secguard.accounts.models.ROLE_CHOICES",
        "DecisionKind": "secguard.decisions.models.KIND_CHOICES",
        "DecisionStatus": "secguard.decisions.models.STATUS_CHOICES",
        "EventKind": "secguard.events.models.KIND_CHOICES",
        "EvidenceKind": "secguard.decisions.models.EVIDENCE_CHOICES",
        "NetworkRuleEffect": ["allow", "deny"],
        "EvidenceSent": ["heartbeat", "check"],
        "FindingKind": "secguard.findings.models.KIND_CHOICES",
        "NotApplicableStatus": ["waiting", "approved", "rejected", "ended"],
        "PlanningStage": ["plan", "build", "register", "run", "network", "log"],
        "RequirementState": ["kept", "missing", "open", "not-applicable"],
        "MeasuredState": ["kept", "missing", "unmeasured"],
        "StandingState": ["pass", "exception", "not-measured", "fail"],
        "CoveredKind": ["decision", "waiver"],
        "PromotionStatus": "secguard.promotion.models.STATUS_CHOICES",
        "SimulationKind": "secguard.laboratory.models.KIND_CHOICES",
        "SimulationStatus": "secguard.laboratory.models.STATUS_CHOICES",
        "StageEnum": "secguard.policies.models.GATE_CHOICES",
        "TrustState": ["trusted", "withdrawn"],
        "TokenStatus": ["active", "expired", "revoked"],
        "VerdictEnum": "secguard.policies.models.VERDICT_CHOICES",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "secguard.web.openapi.describe_problems",
    ],
}

# --- jobs: the broker carries wake-ups only; the truth is in the jobs table (DESIGN rule 9) ---
SPOOL_DIR = DATA_DIR / "spool"
CELERY: dict[str, Any] = {
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_default_queue": "interactive",
    "task_create_missing_queues": False,
    "worker_prefetch_multiplier": 1,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "broker_connection_retry_on_startup": True,
    "enable_utc": True,
}
if BROKER_URL:
    CELERY |= {
        "broker_url": BROKER_URL,
        # A wake-up is sent on the request's own time, so a broker that is down may cost it very little.
        "broker_transport_options": {"socket_timeout": 5, "socket_connect_timeout": 1, "max_retries": 0},
    }
else:
    CELERY |= {
        "broker_url": "filesystem://localhost",
        "broker_transport": "secguard.jobs.adapters.spool:Transport",
        "broker_transport_options": {
            "data_folder_in": str(SPOOL_DIR / "messages"),
            "data_folder_out": str(SPOOL_DIR / "messages"),
            "control_folder": str(SPOOL_DIR / "control"),
            "polling_interval": 0.1,
        },
    }

# --- logs and mail ---
LOGGING_CONFIG = "secguard.logs.configure"
LOGGING = logging_configuration(level=LOG_LEVEL, style=LOG_FORMAT)
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
