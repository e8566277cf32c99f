"""The facenapi context: users, faces, galleries, cameras, persons, and where their data lies."""
