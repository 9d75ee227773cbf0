"""What a compilation does, one stage a file, in the order of gen/compile.py."""
