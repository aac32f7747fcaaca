#!/usr/bin/env python3
"""Django's own command line, for those who work on SecGuard; people who run it use ``secguard``."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")
    execute_from_command_line(sys.argv)
