"""Documents of visits, computed from the faces of each visit."""
