"""The two doors and the one path behind them."""
