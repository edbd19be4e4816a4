"""Colors of curves: four of Okabe and Ito, https://jfly.uni-koeln.de/color/, and four that differ from them.

Any two can be told apart with every kind of color vision, and all stand out from the page, in both themes; a
test measures it. The colors of the dark theme have the same order and nearly the same hues.
"""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c1a0e", "#2a2fb8", "#a578f5", "#522863")
DARK_COLORS = ("#3ab7ff", "#ff8800", "#77f48e", "#c99aaf", "#e6323d", "#0175f6", "#e9d2ff", "#a062b0")
NAMES = ("blue", "vermilion", "green", "pink", "maroon", "indigo", "violet", "plum")
"""Of `COLORS`."""
