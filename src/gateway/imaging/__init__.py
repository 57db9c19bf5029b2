"""Pixels, pure: where an image lies on the sky, which of its pixels a region means, and the file that holds them."""
