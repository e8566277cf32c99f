"""The service: starts, supervises and reports; the only place that knows every room."""
