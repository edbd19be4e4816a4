"""The Python API, over what the commands use. Import its names from `wukongctl` itself.

preparation  `prepare`: raw files to a prepared dataset
datasets     `load` and `Dataset`: tables, vocabularies, batches, statistics
batches      batches of one split, for `torch.utils.data.DataLoader`
networks     `build` and `flops`: the network of a recipe, and what it costs
runs         `train` and `Run`: metrics, predictions, weights, scores of new rows
laws         `fit_law` and `Law`
recipes      what is accepted as a recipe
frames       tables in and out: Arrow, pandas, polars
explained    problems and hints of an error in its traceback
"""
