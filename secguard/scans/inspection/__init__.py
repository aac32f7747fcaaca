"""What our own look finds in an image beside its packages: pure rules over its configuration, files and texts."""
