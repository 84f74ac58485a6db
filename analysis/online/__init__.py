"""Online learning: closed equations of the order parameters, from a study's own starts."""
