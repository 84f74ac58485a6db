"""What the program computed at a recorded state of the sources, bit for bit: cases, values, how they are made."""
