"""Raw click logs → verified Parquet → batches."""
