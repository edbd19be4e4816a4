"""Raw files → tables: DuckDB, its SQL, and the text files it reads.

From text to tables:

    sql          statements as text, every name quoted
    engine       runs them in bounded memory
    failures     what DuckDB reports → errors with file, line and remedy
    lines        from a row of a query back to the line of its file
    encodings    how the bytes of a text file are to be taken
    schemas      Parquet files whose columns differ, read without loss; by types that are exact
    syntax       what expressions read, and where columns come from
    headers      a file's header agrees with the recipe's columns, and with other files'
    tables       a file nobody has described → the SQL that reads it
    row_files    a file of new rows → the SQL that reads it
    rewriting    a SELECT written for one file → the same over the rows of another
"""
