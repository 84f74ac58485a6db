"""What is learned, by what: activations, models, teachers, students and their starts, risks, penalties."""
