"""Watch rules: which visits are reported as `rule.matched`."""
