"""Measuring: speed of training and decoding, and a rehearsal at full scale."""
