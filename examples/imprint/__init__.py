"""What a class that a network was not trained on is worth after its first samples: docs/IMPRINT.md."""
