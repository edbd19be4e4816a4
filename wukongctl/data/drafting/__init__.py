"""A table → a first recipe for it.

measured   the table, read once: what its columns hold
  notation   how its texts write missing values and numbers
  profile    values, numbers, times and lists of each column
  joins      several tables as one
labels     the label column or expression
guess      the time column, and the role of every other column
screening  duplicate columns, label leakage, sentinels
splitting  split rules, tried on the measured rows
recipe     the YAML, with its reasons as comments
draft      all of this in turn
"""
