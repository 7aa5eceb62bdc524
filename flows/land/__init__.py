"""Landing: files of the inbox become rows of the lake, each checked against the contract."""
