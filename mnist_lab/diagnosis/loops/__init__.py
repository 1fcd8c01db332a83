"""How trainings are replayed step by step, and what is wrong where they depart."""
