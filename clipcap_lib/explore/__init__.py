"""Exploring: captions of one picture by one run, what lies behind them, and widgets."""
