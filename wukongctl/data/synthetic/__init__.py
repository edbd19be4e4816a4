"""No raw files: a generator section → rows drawn from a planted teacher, whose click probabilities are known.

From the parts to the rows:

    planting       fields and hidden vectors, and what a teacher is
    pair_teacher   interactions of 2, 4 and 8 fields
    anova_teacher  interactions of 1 to 4 fields, with exact variance per order
    generate       a teacher → rows
"""
