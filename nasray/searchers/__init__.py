"""Black-box searchers: they propose architectures, and are told what these came to."""
