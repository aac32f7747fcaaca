"""Loading the sample organisation and removing it: call them as ``sample.services.<name>``."""

from secguard.sample.services.asking import ask_to_load, ask_to_remove, do_load, do_remove
from secguard.sample.services.loading import load
from secguard.sample.services.removing import remove

__all__ = ["ask_to_load", "ask_to_remove", "do_load", "do_remove", "load", "remove"]
