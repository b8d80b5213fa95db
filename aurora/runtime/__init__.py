"""What every command stands on: the command line, files, hardware and prefetching."""
