"""Self-contained HTML pages: no script, no request to anywhere."""
