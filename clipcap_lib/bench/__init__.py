"""Measuring: speed of training and decoding, shards of a million pictures, and a rehearsal at full scale."""
