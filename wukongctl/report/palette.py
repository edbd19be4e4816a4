"""Colors of curves: Okabe and Ito's color-blind safe palette, https://jfly.uni-koeln.de/color/."""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#6a51a3")
# Lighter shades of the same colors, for the dark theme.
DARK_COLORS = ("#4fb3f0", "#ff8a4c", "#2fd0a0", "#ee9fca", "#f5b942", "#8fd0f7", "#c9a468", "#ab97f0")
