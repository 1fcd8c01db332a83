"""The learner's side of the wall, and the handle that a grader holds of it."""
