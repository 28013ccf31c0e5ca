"""Outside world to documents: one module per kind of input."""
