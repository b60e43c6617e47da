"""The command line: parses, calls the server through the SDK (or, on the host, a view), and prints."""
