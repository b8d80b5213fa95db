"""The reports of a run: lines for the log, a record for programs, a page for people."""
