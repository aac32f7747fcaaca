"""Pages over everything: they read, and show what each part of the product owns."""
