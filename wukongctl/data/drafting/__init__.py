"""A table that nobody has described → its first recipe.

In this order:

    writing  how its texts write missing values and numbers
    profile  what its columns hold
    guess    which is the label, which the time, and what the others can be
    page     the text of a recipe
    draft    the recipe, tried and written with its reasons
"""
