"""One file a command: HELP, arguments(parser), run(args) -> exit code."""
