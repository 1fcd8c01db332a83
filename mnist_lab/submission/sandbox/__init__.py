"""What a learner's process may not do, how that is arranged, and how it is tried."""
