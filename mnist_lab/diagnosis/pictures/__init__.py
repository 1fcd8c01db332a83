"""How transforms of pictures, samples and loaders are looked at."""
