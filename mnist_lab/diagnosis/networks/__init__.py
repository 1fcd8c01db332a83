"""How a learner's network is asked and compared, and why it is not what is asked for.

``checks`` compares outputs and gradients, in the ``layouts`` in which parameters may be stored.
What differs goes to ``explained``, which looks for mistakes of the ``bank`` with ``probes`` and for
``structures`` of other layers; ``places`` finds the line.
"""
