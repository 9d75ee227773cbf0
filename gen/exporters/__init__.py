"""Networks and Plans out again, as model files: one module per kind of file."""
