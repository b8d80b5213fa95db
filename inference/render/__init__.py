"""Self-contained HTML pages, without scripts or network requests, and drawings of predictions."""
