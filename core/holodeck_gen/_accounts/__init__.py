"""One account of one provider, with its gate, its rates and its health."""
