"""What the work is worth: the pytest plugin, and what is made of the grade it gives."""
