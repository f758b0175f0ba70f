"""Wire dialects: each a pair of pure translations plus Klein routes."""
