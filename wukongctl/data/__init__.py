"""Raw click logs → verified Parquet → batches.

`prepare` is the way in, from a recipe to a prepared dataset:

    acquire     URLs and folders → raw files with the right checksums
    synthetic   no raw files at all: rows drawn from a planted teacher
    query       raw files → tables: DuckDB, its SQL, and the text files it reads
    pipeline    tables → ids, numbers and vocabularies in Parquet, stage by stage

`drafting` writes the first recipe of a table that has none. The modules beside them serve everybody:
`manifest`, `schema` and `statistics` describe a prepared dataset, `batches` and `vectors` read it, `rows`
encodes new rows by its rules; `recipes` gives training recipes what depends on the data, `next_steps` the
commands to type next; `atomic`, `stages` and `publishing` see to it that files are whole or absent.
"""
