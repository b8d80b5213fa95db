"""What a run reports: lines for a log, a record for programs, a page for people."""
