"""A class: many submissions graded at once, a journal of what is done, a gradebook and pages."""
