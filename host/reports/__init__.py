"""One HTML page a file, each made from the JSON that the command of the same name writes."""
