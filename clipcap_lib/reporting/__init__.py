"""Showing results: figures, cards, the report's pages, comparisons, the gallery."""
