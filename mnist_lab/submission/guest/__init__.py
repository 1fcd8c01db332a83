"""All that runs beside a learner's code: it reads their file, looks names up, calls, and answers.

Nothing here computes what an exercise asks for, and nothing here judges: what comes back is
compared on the grader's side with what was computed there.
"""
