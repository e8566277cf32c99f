"""What a frame becomes. Pure: no network, no database, no clock of its own."""
