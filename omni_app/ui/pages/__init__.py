"""The pages: each module holds one page and its state."""
