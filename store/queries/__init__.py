"""Questions about what is stored, as typed answers: for the command line, HTTP APIs and plugins."""
