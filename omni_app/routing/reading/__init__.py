"""Reads a request for what tells its task: words in many languages, the shape of the text, where in it they stand."""
