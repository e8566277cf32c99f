"""The service: starts, supervises and reports. The only package that imports all others."""
