"""Raw click logs → prepared Parquet datasets → batches.

`prepare` turns a recipe into a prepared dataset, by way of:

    acquire     URLs, folders and archives → verified raw files
    synthetic   in place of raw files: rows drawn from a planted teacher
    query       raw files → tables: DuckDB, its SQL, and the text files it reads
    pipeline    tables → ids, numbers and vocabularies in Parquet, stage by stage

`drafting` writes a first recipe for a table. `manifest`, `schema` and `statistics` describe a prepared
dataset, `tallies` count its statistics, `batches` and `vectors` read it, and `rows` encodes new rows by its
rules. `recipes` completes training recipes with the facts of their dataset; `next_steps` names the next
command. `atomic`, `stages` and `publishing` write files and folders that are complete or absent.
"""
