"""ClipCap Workbench: CLIP embedding, mapping network, GPT-2 prefix, caption."""

__version__ = "0.1.0"
