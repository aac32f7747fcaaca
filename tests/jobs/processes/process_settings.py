"""The product's settings with as few applications as a worker needs: the jobs, and work that takes its time."""

from secguard.settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "secguard.jobs", "slowwork"]
AUTH_USER_MODEL = "auth.User"
ROOT_URLCONF = "slowwork"
MIDDLEWARE = []
CSRF_FAILURE_VIEW = "django.views.csrf.csrf_failure"
