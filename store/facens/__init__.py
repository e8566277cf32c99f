"""The facen storage: the search engine over feature vectors."""
