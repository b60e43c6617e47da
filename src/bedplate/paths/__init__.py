"""The golden path: one steel thread done right, then the template for the next."""
