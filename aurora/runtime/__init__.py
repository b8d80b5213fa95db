"""Infrastructure of all commands: command line, files, hardware and prefetching."""
