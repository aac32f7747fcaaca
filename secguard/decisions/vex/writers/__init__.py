"""One module a format: ``document(told)`` to bytes, ``MEDIA_TYPE``, ``PAYLOAD_TYPE``, and the ``ENDING`` of files."""
