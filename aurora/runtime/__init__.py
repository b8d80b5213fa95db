"""What every command uses: command line, files, hardware and prefetching."""
