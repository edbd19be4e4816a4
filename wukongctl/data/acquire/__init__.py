"""Where raw files come from: URLs and folders → raw files with the right checksums.

From the top down:

    sources   each raw file of a recipe: in a folder, in an archive, to download, or to be asked of its owner
    checks    whether it is the published one
    cache     downloads that are kept
    download  one file from its mirrors: locked, verified, and only then given its name
    transfer  one mirror: asked, resumed, asked again
    network   what servers say, in words a person can act on
    extract   archives, safely
    digests   checksums
"""
