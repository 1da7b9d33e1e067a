"""Training in parts: each step's images shared by several processes, or gone through one part after the other."""
