"""The product's settings with as few applications as telling people needs."""

from secguard.settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "secguard.notifications"]
AUTH_USER_MODEL = "auth.User"
ROOT_URLCONF = "mailing"
MIDDLEWARE = []
CSRF_FAILURE_VIEW = "django.views.csrf.csrf_failure"
