#!/usr/bin/env python3
"""Django's own command line, for those who work on SecGuard; people who run it use ``secguard``."""

import os
import sys

from django.core.management import execute_from_command_line

from secguard import local

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")
    local.make_folders(local.data_dir(os.environ))
    local.make_key(os.environ)
    execute_from_command_line(sys.argv)
