"""The claims, a file a subject."""
