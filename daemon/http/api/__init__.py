"""`/api/v1`: Facend's own HTTP API, for the console and for other programs. docs/api.md describes it."""
