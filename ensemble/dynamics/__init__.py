"""How members move: updates, schedules, stages, and the classical protocols made of them."""
