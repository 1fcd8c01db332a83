"""mnist-lab: three classifiers of handwritten digits, trained, compared and graded.

Importing the package loads no torch; the modules of the lab do, each on its own.
"""

__version__ = "0.1.0"
