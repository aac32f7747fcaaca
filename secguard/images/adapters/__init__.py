"""The outside world of images: registries over HTTP, archives on disk, the store of their blobs. No database here."""
