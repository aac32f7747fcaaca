"""The web application for a WSGI server; it refuses to start without SECGUARD_SECRET_KEY."""

import os

from django.core.wsgi import get_wsgi_application

from secguard.collector import pace
from secguard.environment import require_secret_key

require_secret_key(os.environ)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")
application = get_wsgi_application()
pace()
