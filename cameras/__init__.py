"""From a URL to frames."""
