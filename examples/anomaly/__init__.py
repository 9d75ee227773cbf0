"""A machine that learns from nothing what its own vibration is like, and says what is not."""
