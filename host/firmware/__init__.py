"""Building and flashing firmware, and what its ELF file says."""
