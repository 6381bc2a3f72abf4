"""The connection to Ray: its address, its token, and how a session ends."""
