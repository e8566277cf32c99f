"""What parts of Facend can do on this machine, beside the plainest way to do the same."""
