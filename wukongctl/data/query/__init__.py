"""Raw files → tables: DuckDB, its SQL, and the text files it reads.

sql          statements as text, every name quoted
engine       runs them in bounded memory
failures     what DuckDB reports → errors with file, line and remedy
lines        from a row of a query back to the line of its file
encodings    compression, encoding and line endings of text files
schemas      Parquet files whose columns differ, read by types that are exact (`exact_types`)
syntax       what expressions read, and where columns come from
headers      CSV headers against the recipe's columns and those of other files
quotes       the quote character of a CSV file
tables       a file without a recipe → the SQL that reads it
row_files    a file of new rows → the SQL that reads it
rewriting    a SELECT over its training file → the same over the rows of another file
"""
