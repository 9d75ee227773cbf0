"""Running a Plan on the host, and holding a chip against it."""
