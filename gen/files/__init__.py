"""The one way in which files of a user are opened: regular ones, of a size, arrays checked first."""
