"""Members, teams and what they may do: snapshots, history, and what follows from them."""
