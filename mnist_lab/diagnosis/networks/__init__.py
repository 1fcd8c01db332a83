"""How a network is compared with the reference, and what is wrong where it differs."""
