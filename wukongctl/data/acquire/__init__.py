"""URLs, folders and archives → verified raw files.

sources   finds each raw file of a recipe: in a folder or archive, by download, or by hand
checks    compares raw files with their published checksums
cache     the download cache
download  one file from its mirrors: locked and verified
transfer  one file from one mirror: resumed and retried
network   the HTTP client, and network errors in plain words
patterns  the table files that a pattern or a folder stands for
extract   archives, unpacked safely
digests   checksums
"""
